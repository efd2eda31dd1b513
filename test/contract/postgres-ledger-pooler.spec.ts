import { afterAll, beforeAll, describe } from '@jest/globals';
import { describePostgresLedger } from '../support/describe-postgres-ledger.js';
import { TransactionPooler } from '../support/transaction-pooler.js';

describe('behind a pooler that shares sessions', () => {
  let pooler: TransactionPooler;
  beforeAll(async () => {
    pooler = await TransactionPooler.start(6);
  });
  afterAll(() => pooler.close());
  describePostgresLedger('PostgresLedger', () => ({
    connection: { connectionString: pooler.url, max: 4 },
    prepare: false,
  }));
});
