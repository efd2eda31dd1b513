import { describePostgresLedger } from '../support/describe-postgres-ledger.js';

describePostgresLedger('PostgresLedger', () => ({ poolSize: 4 }));
