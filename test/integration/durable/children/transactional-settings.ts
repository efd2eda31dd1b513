/** Travels as JSON in the environment. */
export interface TransactionalSettings {
  readonly databaseUrl: string;
  /** Has the table `effect`, and the ledger's. */
  readonly schema: string;
}

export const SETTINGS_VARIABLE = 'TRANSACTIONAL_TEST_SETTINGS';
