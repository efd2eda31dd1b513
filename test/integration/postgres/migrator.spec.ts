import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { LedgerSchemaError } from '../../../lib/errors/errors.js';
import { listMigrations } from '../../../lib/postgres/migrator.js';
import { databaseUrl, LedgerSchema } from '../../support/ledger-schema.js';

describe('the migrator', () => {
  let schema: LedgerSchema;
  beforeEach(() => {
    schema = new LedgerSchema();
  });
  afterEach(() => schema.dispose());

  const failure = (promise: Promise<unknown>) =>
    promise.then(
      () => undefined,
      (error: Error) => error,
    );

  it('sets the schema up once when eight processes start at once', async () => {
    await Promise.all(Array.from({ length: 8 }, () => schema.open({ poolSize: 1 })));
    const rows = await schema.query<{ version: number }>(
      'select version from {schema}.schema_migration order by version',
    );
    expect(rows.map(({ version }) => version)).toEqual(
      (await listMigrations()).map(({ version }) => version),
    );
  });

  it('refuses a schema that is newer than the library, and says which version it knows', async () => {
    await schema.open();
    await schema.query(`insert into {schema}.schema_migration values (4711, 'from the future')`);
    for (const migrate of [true, false]) {
      const error = await failure(schema.open({ migrate }));
      expect(error).toBeInstanceOf(LedgerSchemaError);
      expect(error!.message).toContain('4711');
      expect(error!.message).toContain(`up to ${(await listMigrations()).at(-1)!.version}`);
      expect(error!.message).toMatch(/Update nestjs-durable-kafka/);
    }
  });

  it('with migrate: false names what to run for a missing schema, and creates nothing', async () => {
    const error = await failure(schema.open({ migrate: false }));
    expect(error).toBeInstanceOf(LedgerSchemaError);
    expect(error!.message).toMatch(/is missing.*psql .*0001_ledger\.sql/);
    expect(await schema.query('select 1 from pg_namespace where nspname = $1', [schema.schema])).toEqual([]);
  });

  it('with migrate: false takes a schema that is up to date', async () => {
    await schema.open();
    await (await schema.open({ migrate: false })).ping();
  });

  it('with migrate: false refuses an older schema', async () => {
    await schema.query('create schema {schema}');
    await schema.query('create table {schema}.schema_migration (version int)');
    const error = await failure(schema.open({ migrate: false }));
    expect(error).toBeInstanceOf(LedgerSchemaError);
  });

  it('finds what ended in an older schema by its state, at the time when it ended', async () => {
    await schema.createVersion(8);
    await schema.query(`insert into {schema}.scope (consumer_group, handler) values ('g', 'h')`);
    await schema.query(
      `insert into {schema}.execution
         (scope_id, key, state, fingerprint, topic_id, partition, record_offset, finished_at)
       select 1, convert_to('gk' || n, 'UTF8'), n, 0, gen_random_uuid(), 0, n, to_timestamp(1000 + n)
       from generate_series(1, 4) n`,
    );
    await schema.query(
      `insert into {schema}.failure (scope_id, key, error_name, error_message)
       select scope_id, key, 'Error', 'no' from {schema}.execution where state > 1`,
    );
    const { reader } = await schema.open();
    for (const [index, state] of (['failed', 'dead', 'skipped'] as const).entries()) {
      const { executions } = await reader.list({ state, since: 1_000_000, until: 1_005_000 }, 9, undefined);
      expect(executions).toMatchObject([{ key: `k${index + 2}`, finishedAt: (1_000 + index + 2) * 1_000 }]);
    }
  });

  it('may be tried again after a refusal', async () => {
    await schema.open();
    await schema.query(`insert into {schema}.schema_migration values (4711, 'from the future')`);
    const ledger = schema.create();
    await expect(ledger.open()).rejects.toThrow(LedgerSchemaError);
    await schema.query('delete from {schema}.schema_migration where version = 4711');
    await ledger.open();
    await ledger.ping();
  });

  it.each(['We"ird $1 sch\'ema; --', 'ünï', 'S'.repeat(63)])('works in a schema named %s', async (base) => {
    const name = base.length === 63 ? base : `${base}${randomBytes(4).toString('hex')}`;
    const other = new LedgerSchema(name);
    try {
      const ledger = await other.open();
      const lane = {
        scope: { group: 'g', handler: 'h' },
        topic: 't',
        topicId: '0b6f0f2e-0000-4000-8000-000000000001',
        partition: 0,
      };
      const { fence } = await ledger.takeFence(lane, async () => true);
      const transaction = ledger.transaction();
      await transaction.claim({
        fence,
        advanceTo: 1n,
        executions: [{ key: Buffer.from('gk'), fingerprint: 1n, offset: 0n }],
      });
      await transaction.commit({ releases: [], replies: [], outbox: [] });
      expect(await other.query('select key, state from {schema}.executions')).toEqual([
        { key: 'k', state: 'completed' },
      ]);
    } finally {
      await other.dispose();
    }
  });

  it('needs no right to create schemas where there is nothing to create, and says who should where there is', async () => {
    const role = `ledger_role_${randomBytes(4).toString('hex')}`;
    const { database } = new pg.Client(databaseUrl());
    await schema.query(`create role ${role} login password 'pw'`);
    try {
      const url = new URL(databaseUrl());
      url.username = role;
      url.password = 'pw';
      await schema.query(`revoke create on database "${database}" from public`);
      const error = await failure(schema.open({ connection: url.href }));
      expect(error).toBeInstanceOf(LedgerSchemaError);
      expect(error!.message).toMatch(/may not set up.*psql/);
      await schema.open();
      await schema.query(`grant usage on schema {schema} to ${role}`);
      await schema.query(`grant select, insert, update, delete on all tables in schema {schema} to ${role}`);
      await schema.query(`grant usage on all sequences in schema {schema} to ${role}`);
      const ledger = await schema.open({ connection: url.href });
      const lane = {
        scope: { group: 'g', handler: 'h' },
        topic: 't',
        topicId: '0b6f0f2e-0000-4000-8000-000000000001',
        partition: 0,
      };
      expect((await ledger.takeFence(lane, async () => true)).fence.nextOffset).toBe(0n);
      await ledger.close();
    } finally {
      await schema.query(`drop owned by ${role}`);
      await schema.query(`drop role ${role}`);
    }
  });
});
