import { describePostgresLedger } from '../support/describe-postgres-ledger.js';

describePostgresLedger('PostgresLedger without prepared statements', () => ({ poolSize: 4, prepare: false }));
