import pg from 'pg';
import { LedgerUnreachableError } from '../../../lib/errors/errors.js';
import { laneLock } from '../../../lib/postgres/statements.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { databaseUrl, LedgerSchema } from '../../support/ledger-schema.js';

const APPLICATION = 'nestjs-durable-kafka';

describe('a transaction that holds a fence', () => {
  let schema: LedgerSchema;
  beforeEach(() => {
    schema = new LedgerSchema();
  });
  afterEach(() => schema.dispose());

  /** Sits on the fence of a lane like a process that was stopped in the middle of its group. */
  async function holdFence(applicationName: string, statement: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: databaseUrl(), application_name: applicationName });
    client.on('error', () => undefined);
    await client.connect();
    await client.query('begin');
    await client.query(statement.replaceAll('{schema}', schema.quoted));
    return client;
  }

  async function alive(client: pg.Client): Promise<boolean> {
    return client.query('select 1').then(
      () => true,
      () => false,
    );
  }

  it('is ended for a confirmed successor after five seconds, which a log line tells', async () => {
    const lines: string[] = [];
    const open = () => schema.open({ poolSize: 1, log: { ...silentLog, warn: (line) => lines.push(line) } });
    const ledger = await open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const holder = await holdFence(APPLICATION, 'update {schema}.fence set next_offset = 99');
    const { rows } = await holder.query<{ pid: number }>('select pg_backend_pid() as pid');
    const started = performance.now();
    // Several takers wait behind each other, not only behind the holder: in turn, it would be five seconds each. None of
    // them is ended by another one that has waited as long.
    const others = await Promise.all(Array.from({ length: 7 }, open));
    const taken = await Promise.all([ledger, ...others].map((taker) => taker.takeFence(fence.lane, always)));
    expect(performance.now() - started).toBeGreaterThan(4_500);
    expect(performance.now() - started).toBeLessThan(25_000);
    expect(taken.map(({ fence: { nextOffset } }) => nextOffset)).toEqual(taken.map(() => 0n));
    expect(await alive(holder)).toBe(false);
    expect(lines.join()).toContain(String(rows[0]!.pid));
    await holder.end();
  });

  it('is ended too where it took the fence itself, and stopped in between', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const [scope] = await schema.query<{ id: number }>('select id from {schema}.scope');
    const taker = await holdFence(APPLICATION, 'update {schema}.fence set next_offset = 99');
    await taker.query('select pg_advisory_xact_lock($1)', [laneLock(schema.schema, scope!.id, fence.lane)]);
    expect((await ledger.takeFence(fence.lane, always)).fence.nextOffset).toBe(0n);
    expect(await alive(taker)).toBe(false);
    await taker.end();
  });

  it.each([
    ['of another application', 'psql', 'update {schema}.fence set next_offset = next_offset'],
    ['by locking its table', APPLICATION, 'lock table {schema}.fence in share row exclusive mode'],
  ])('%s is left alone', async (_, applicationName, statement) => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const holder = await holdFence(applicationName, statement);
    let asked = 0;
    let askedTwice!: () => void;
    const twice = new Promise<void>((resolve) => (askedTwice = resolve));
    const taken = ledger.takeFence(fence.lane, () => {
      if (++asked === 2) askedTwice();
      return Promise.resolve(true);
    });
    await twice;
    expect(await alive(holder)).toBe(true);
    await holder.query('rollback');
    expect((await taken).fence.epoch).toBeGreaterThan(fence.epoch);
    await holder.end();
  });

  it('is recognized in a pool that has no application name of its own', async () => {
    const pools = [1, 2].map(() => new pg.Pool({ connectionString: databaseUrl(), max: 2 }));
    for (const pool of pools) pool.on('error', () => undefined);
    const [ledger, other] = await Promise.all(pools.map((connection) => schema.open({ connection })));
    const { fence } = await ledger!.takeFence(newLane(), always);
    const stopped = ledger!.transaction();
    await stopped.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
    await other!.takeFence(fence.lane, always);
    await expect(stopped.commit(nothing)).rejects.toThrow(LedgerUnreachableError);
    await schema.dispose();
    for (const pool of pools) await pool.end();
    schema = new LedgerSchema();
  });
});
