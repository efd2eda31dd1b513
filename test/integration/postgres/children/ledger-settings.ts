export interface LedgerSettings {
  readonly connection: string;
  readonly schema: string;
  /** Each process works in one of its own. */
  readonly partition: number;
}

export const SETTINGS_VARIABLE = 'LEDGER_SETTINGS';
