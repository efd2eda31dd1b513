export const TRANSFERS = 300;
export const KILLS = 3;

/** What the program tells the services that it starts. */
export interface Assignment {
  readonly brokers: string[];
  readonly databaseUrl: string;
  /** Holds the sample's tables, and the ledger's. */
  readonly schema: string;
  readonly group: string;
  readonly topic: string;
}
