import pg from 'pg';
import { describePostgresLedger } from '../support/describe-postgres-ledger.js';
import { databaseUrl } from '../support/ledger-schema.js';

describePostgresLedger('PostgresLedger over a given pool without pipelining', () => ({
  connection: new pg.Pool({ connectionString: databaseUrl(), max: 4 }),
}));
