import pg from 'pg';
import {
  CommitUnknownError,
  TransactionAbortedError,
  WrongCallOrderError,
} from '../../../lib/errors/errors.js';
import type { Fence } from '../../../lib/execution/ledger.js';
import type { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { databaseUrl, LedgerSchema } from '../../support/ledger-schema.js';
import { PostgresProxy } from '../../support/postgres-proxy.js';

describe('a transaction in Postgres', () => {
  let schema: LedgerSchema;
  beforeEach(() => {
    schema = new LedgerSchema();
  });
  afterEach(() => schema.dispose());

  async function begin(ledger: PostgresLedger, fence: Fence, key = 'a') {
    const transaction = ledger.transaction();
    const verdicts = await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf(key)] });
    return { transaction, verdicts };
  }

  async function setting(ledger: PostgresLedger, name: string): Promise<unknown> {
    const { fence } = await ledger.takeFence(newLane(), always);
    const { transaction } = await begin(ledger, fence);
    const { rows } = await transaction.client.query<{ value: string }>(
      'select current_setting($1) as value',
      [name],
    );
    await transaction.rollback();
    return rows[0]!.value;
  }

  describe('over a wire that is watched', () => {
    let proxy: PostgresProxy;
    beforeEach(async () => {
      proxy = await PostgresProxy.start();
    });
    afterEach(() => proxy.stop());

    it('takes one round trip to begin, check the fence and claim, and one to store and commit', async () => {
      const ledger = await schema.open({ connection: proxy.url, poolSize: 1 });
      const { fence } = await ledger.takeFence(newLane(), always);
      const { scope } = fence.lane;
      for (const warmedUp of [false, true]) {
        const executions = Array.from({ length: 64 }, (_, index) => claimOf(`${warmedUp} ${index}`, index));
        const transaction = ledger.transaction();
        let before = proxy.roundTrips;
        await transaction.claim({ fence, advanceTo: 64n, executions });
        if (warmedUp) expect(proxy.roundTrips - before).toBe(1);
        before = proxy.roundTrips;
        await transaction.commit({
          releases: [{ fence, keys: [executions[63]!.key], nextOffset: 63n }],
          replies: executions.map(({ key }) => ({ scope, key, body: Buffer.from('reply') })),
          outbox: [],
        });
        if (warmedUp) expect(proxy.roundTrips - before).toBe(1);
      }
    });

    it.each(['before', 'after'] as const)(
      'whose connection breaks %s COMMIT took effect is unknown',
      async (moment) => {
        const ledger = await schema.open({ connection: proxy.url, poolSize: 2 });
        await schema.createEffects();
        const { fence } = await ledger.takeFence(newLane(), always);
        const { transaction } = await begin(ledger, fence);
        await transaction.client.query(`insert into ${schema.quoted}.effect values ('effect')`);
        proxy.cutAtCommit = moment;
        await expect(transaction.commit(nothing)).rejects.toThrow(CommitUnknownError);
        proxy.cutAtCommit = undefined;
        expect(transaction.broken).toBe(true);
        // The ledger knows.
        const { transaction: next, verdicts } = await begin(ledger, fence);
        await next.rollback();
        if (moment === 'before') expect(verdicts).toEqual(['claimed']);
        else expect(verdicts).toEqual([expect.objectContaining({ state: 'completed' })]);
        expect(await schema.effects()).toEqual(moment === 'before' ? [] : ['effect']);
      },
    );

    it('is known to have failed when the connection broke before', async () => {
      const ledger = await schema.open({ connection: proxy.url });
      const { fence } = await ledger.takeFence(newLane(), always);
      const { transaction } = await begin(ledger, fence);
      proxy.cut();
      await expect(transaction.client.query('select 1')).rejects.toThrow();
      expect(transaction.broken).toBe(true);
      await expect(transaction.commit(nothing)).rejects.toMatchObject({ code: 'KT_LEDGER_UNREACHABLE' });
    });
  });

  it('runs at READ COMMITTED and commits synchronously whatever the defaults are', async () => {
    const warnings: string[] = [];
    const ledger = await schema.open({
      connection: {
        connectionString: databaseUrl(),
        options: '-c default_transaction_isolation=serializable -c synchronous_commit=off',
      },
      log: { ...silentLog, warn: (line) => warnings.push(line) },
    });
    expect(await setting(ledger, 'transaction_isolation')).toBe('read committed');
    expect(await setting(ledger, 'synchronous_commit')).toBe('on');
    expect(warnings).toEqual([expect.stringMatching(/synchronous_commit = off.*alter role/)]);
  });

  it('notices that synchronous_commit was switched off later', async () => {
    const warnings: string[] = [];
    const ledger = await schema.open({
      poolSize: 1,
      log: { ...silentLog, warn: (line) => warnings.push(line) },
    });
    expect(await setting(ledger, 'synchronous_commit')).toBe('on');
    await ledger.pool.query('set synchronous_commit = off');
    const { fence } = await ledger.takeFence(newLane(), always);
    const { transaction } = await begin(ledger, fence);
    await transaction.commit(nothing);
    expect(warnings).toHaveLength(1);
    expect(await setting(ledger, 'synchronous_commit')).toBe('on');
  });

  it('reads 64-bit numbers whatever parsers the application has set', async () => {
    const parser = pg.types.getTypeParser(20, 'text');
    pg.types.setTypeParser(20, (text) => parseInt(text, 10));
    try {
      const ledger = await schema.open({
        connection: { connectionString: databaseUrl(), options: '-c bytea_output=escape' },
      });
      const { fence } = await ledger.takeFence(newLane(), always);
      const execution = {
        key: Buffer.from([0x67, 0, 0x5c, 0xff]),
        fingerprint: -(2n ** 63n),
        offset: 2n ** 62n + 1n,
      };
      const body = Buffer.from([0, 0x5c, 0x27, 0xff, 0x41]);
      const first = ledger.transaction();
      await first.claim({ fence, advanceTo: 2n ** 62n + 2n, executions: [execution] });
      await first.commit({ ...nothing, replies: [{ scope: fence.lane.scope, key: execution.key, body }] });
      const second = ledger.transaction();
      const verdicts = await second.claim({ fence, advanceTo: 0n, executions: [execution] });
      await second.rollback();
      expect(verdicts).toEqual([
        expect.objectContaining({ fingerprint: -(2n ** 63n), offset: 2n ** 62n + 1n }),
      ]);
      expect([...(await ledger.findReplies(fence.lane.scope, [execution.key])).values()]).toEqual([body]);
      expect((await ledger.takeFence(fence.lane, always)).fence.nextOffset).toBe(2n ** 62n + 2n);
    } finally {
      pg.types.setTypeParser(20, parser);
    }
  });

  describe('hands its handler a client', () => {
    let ledger: PostgresLedger;
    let fence: Fence;
    beforeEach(async () => {
      ledger = await schema.open();
      await schema.createEffects();
      ({ fence } = await ledger.takeFence(newLane(), always));
    });

    it('with the ways to query that pg has', async () => {
      const { transaction } = await begin(ledger, fence);
      const { client } = transaction;
      expect((await client.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
      expect((await client.query('select $1::int as a', [2])).rows).toEqual([{ a: 2 }]);
      expect(
        (await client.query({ text: 'select $1::int as a', values: [3], rowMode: 'array' })).rows,
      ).toEqual([[3]]);
      const called = new Promise((resolve, reject) => {
        client.query('select $1::int as a', [4], (error: Error | null, result: pg.QueryResult) => {
          if (error) reject(error);
          else resolve(result.rows);
        });
      });
      expect(await called).toEqual([{ a: 4 }]);
      await transaction.commit(nothing);
    });

    it('that prepares a named statement once, and leaves what it is called with as it is', async () => {
      const { transaction } = await begin(ledger, fence);
      const config = Object.freeze({ name: 'sum', text: 'select $1::int + $2::int as sum', values: [1, 2] });
      for (let times = 1; times <= 2; times++) {
        const { rows, command, rowCount } = await transaction.client.query(config);
        expect({ rows, command, rowCount }).toEqual({ rows: [{ sum: 3 }], command: 'SELECT', rowCount: 1 });
      }
      const { rows } = await transaction.client.query(
        "select calls from (select generic_plans + custom_plans as calls from pg_prepared_statements where name = 'sum') as sums",
      );
      expect(rows).toEqual([{ calls: '2' }]);
      await expect(transaction.client.query({ ...config, text: 'select 1' })).rejects.toThrow(/unique.*sum/);
      await transaction.rollback();
    });

    it.each([
      ['a text', 'select 1 / 0'],
      ['an object', { text: 'select 1 / $1::int', values: [0] }],
      ['an object with more to it', { text: 'select 1 / $1::int', values: [0], rowMode: 'array' }],
    ])('whose errors lead to where the query was awaited: %s', async (_what, query) => {
      const { transaction } = await begin(ledger, fence);
      const theHandler = async () => {
        await transaction.client.query(query as pg.QueryConfig);
      };
      const error = await theHandler().catch((thrown: unknown) => thrown as pg.DatabaseError);
      expect(error).toMatchObject({ code: '22012', message: 'division by zero' });
      expect(error?.stack).toContain('theHandler');
      await transaction.rollback();
    });

    it('that names the floating promise after the end, in every way to query', async () => {
      const { transaction } = await begin(ledger, fence);
      await transaction.commit(nothing);
      const { client } = transaction;
      const insert = `insert into ${schema.quoted}.effect values ('late')`;
      await expect(client.query(insert)).rejects.toThrow(/floating/);
      await expect(client.query({ text: insert })).rejects.toThrow(WrongCallOrderError);
      const called = await new Promise<Error>((resolve) =>
        client.query(insert, (error: Error) => resolve(error)),
      );
      expect(called.message).toMatch(/floating/);
      const query = new pg.Query(insert);
      const emitted = new Promise<Error>((resolve) => query.on('error', resolve));
      client.query(query);
      expect((await emitted).message).toMatch(/floating/);
      expect(await schema.effects()).toEqual([]);
    });

    it.each([
      'commit',
      ' COMMIT;',
      'end',
      'abort',
      'rollback',
      'Rollback Work',
      'rollback and chain',
      "prepare transaction 'x'",
      '-- done\n commit',
      '/* a */ /* b */ commit',
      'select 1; commit',
      "select ';'; -- and\n commit; select 1",
    ])('that refuses to end the transaction: %s', async (text) => {
      const { transaction } = await begin(ledger, fence);
      await expect(transaction.client.query(text)).rejects.toThrow(/belongs to the library/);
      await transaction.client.query(`insert into ${schema.quoted}.effect values ('effect')`);
      await transaction.commit(nothing);
      expect(await schema.effects()).toEqual(['effect']);
    });

    it('on which a part may fail inside a savepoint', async () => {
      const { transaction } = await begin(ledger, fence);
      const { client } = transaction;
      await client.query(`insert into ${schema.quoted}.effect values ('kept')`);
      await client.query('savepoint part');
      await expect(client.query('select no_such_column')).rejects.toThrow();
      await client.query('rollback to savepoint part');
      await transaction.commit(nothing);
      expect(await schema.effects()).toEqual(['kept']);
    });

    it('whose transaction a text that hides its end cannot end unnoticed', async () => {
      const { transaction } = await begin(ledger, fence);
      await transaction.client.query('set local standard_conforming_strings = off');
      await transaction.client.query("select 'it\\''; rollback; --'");
      await expect(transaction.commit(nothing)).rejects.toThrow(/ended the transaction/);
      const { transaction: next, verdicts } = await begin(ledger, fence);
      await next.rollback();
      expect(verdicts).toEqual(['claimed']);
    });
  });

  it('rejects with Postgres’s own error where COMMIT itself finds a violation', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    await schema.query('create table {schema}.once (id int unique deferrable initially deferred)');
    const { transaction } = await begin(ledger, fence);
    await transaction.client.query(`insert into ${schema.quoted}.once values (1), (1)`);
    await expect(transaction.commit(nothing)).rejects.toMatchObject({ code: '23505' });
    expect(transaction.broken).toBe(false);
    const { transaction: next, verdicts } = await begin(ledger, fence);
    await next.rollback();
    expect(verdicts).toEqual(['claimed']);
  });

  it('counts a failed query nobody waited for as swallowed', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const { transaction } = await begin(ledger, fence);
    const floating = transaction.client.query('select pg_sleep(0.05), 1 / 0').catch(() => undefined);
    await expect(transaction.commit(nothing)).rejects.toThrow(TransactionAbortedError);
    await floating;
  });
});
