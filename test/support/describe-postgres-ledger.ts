import { afterEach, beforeEach, describe, it } from '@jest/globals';
import pg from 'pg';
import type { PostgresLedgerOptions } from '../../lib/postgres/postgres-ledger.options.js';
import type { TransactionClient } from '../../lib/postgres/transaction-client.js';
import { describeLedgerContract } from '../../lib/testing/contract/ledger.contract.js';
import { LedgerSchema } from './ledger-schema.js';

/** The contract of ledgers for one way to reach Postgres. Each way is a spec of its own, so that they run side by side. */
export function describePostgresLedger(name: string, options: () => Partial<PostgresLedgerOptions>): void {
  describeLedgerContract(name, { describe, it, beforeEach, afterEach }, async () => {
    const schema = new LedgerSchema();
    const pools: pg.Pool[] = [];
    return {
      openLedger: async () => {
        const given = options();
        if (given.connection instanceof pg.Pool) pools.push(given.connection);
        const ledger = await schema.open(given);
        await schema.createEffects();
        return ledger;
      },
      write: async (client, text) => {
        await (client as TransactionClient).query(`insert into ${schema.quoted}.effect values ($1)`, [text]);
      },
      fail: (client) => (client as TransactionClient).query('select no_such_column'),
      written: () => schema.effects(),
      die: async (memberId) => {
        await schema.query(
          `select pg_terminate_backend(l.pid) from pg_locks l join {schema}.member m
           on l.locktype = 'advisory' and (l.classid::bigint << 32 | l.objid::bigint) = m.lock_key
           where m.member_id = $1`,
          [memberId],
        );
        // Behind a pooler: as if its lease had run out.
        await schema.query(
          `update {schema}.member set lease_until = clock_timestamp() where lock_key is null
             and instance = (select instance from {schema}.member where member_id = $1)`,
          [memberId],
        );
      },
      dispose: async () => {
        await schema.dispose();
        for (const pool of pools) await pool.end();
      },
    };
  });
}
