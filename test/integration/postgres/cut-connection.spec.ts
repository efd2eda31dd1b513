import pg from 'pg';
import type { Lane } from '../../../lib/execution/ledger.js';
import type { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import type { TransactionClient } from '../../../lib/postgres/transaction-client.js';
import { settlesWithin, systemClock } from '../../../lib/runtime/clock.js';
import { eventually } from '../../support/eventually.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { databaseUrl, LedgerSchema } from '../../support/ledger-schema.js';
import { TcpProxy, type Verdict } from '../../support/tcp-proxy.js';

/** Far above what anything here takes. */
const PATIENCE = 30_000;
type Direction = 'fromClient' | 'fromServer';

describe('a connection that is cut', () => {
  let schema: LedgerSchema;
  let proxy: TcpProxy;
  let pool: pg.Pool;
  /** Bytes that still pass; counted from when it is set. */
  let passes: Record<Direction, number>;
  let passed: Record<Direction, number>;

  beforeEach(async () => {
    schema = new LedgerSchema();
    passes = { fromClient: Infinity, fromServer: Infinity };
    passed = { fromClient: 0, fromServer: 0 };
    const { hostname: host, port } = new URL(databaseUrl());
    const count =
      (direction: Direction) =>
      (bytes: Buffer): Verdict => {
        const left = passes[direction] - passed[direction];
        passed[direction] += bytes.length;
        if (bytes.length <= left) return 'pass';
        passes[direction] = Infinity;
        return left;
      };
    proxy = await TcpProxy.start({ host, port: Number(port) || 5432 }, () => ({
      fromClient: count('fromClient'),
      fromServer: count('fromServer'),
    }));
  });

  afterEach(async () => {
    await schema.dispose();
    await pool.end();
    await proxy.close();
  });

  let scopes = 0;

  /** A lane in a scope of its own, in which somebody else had one of the keys: its claim fails, and begins anew. */
  async function laneWithKnownKey(other: PostgresLedger): Promise<Lane> {
    const scope = { group: 'billing', handler: `handler-${String(scopes++).padStart(4, '0')}` };
    const { fence } = await other.takeFence(newLane({ scope }), always);
    const transaction = other.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('b')] });
    await transaction.commit(nothing);
    return newLane({ scope });
  }

  /** What a group does, and what may come beside it. Resolves with the names of what did not settle. */
  async function work(ledger: PostgresLedger, lane: Lane): Promise<string[]> {
    const hanging: string[] = [];
    const step = async <T>(name: string, run: () => Promise<T>): Promise<T | undefined> => {
      const running = run().catch(() => undefined);
      if (await settlesWithin(systemClock, running, PATIENCE)) return running;
      hanging.push(name);
      return undefined;
    };
    const taken = await step('takeFence', () => ledger.takeFence(lane, always));
    if (!taken) return hanging;
    const { fence } = taken;
    const transaction = ledger.transaction();
    await step('claim', () =>
      transaction.claim({ fence, advanceTo: 2n, executions: [claimOf('a'), claimOf('b', 1)] }),
    );
    const { query } = transaction.client as TransactionClient;
    await step('queries', () =>
      Promise.all([query('select 1'), query('select $1::int', [2]), query('select 3')]),
    );
    const reply = { scope: fence.lane.scope, key: Buffer.from('a'), body: Buffer.from('r') };
    await step('commit', () => transaction.commit({ releases: [], replies: [reply], outbox: [] }));
    await step('rollback', () => transaction.rollback());
    await step('conclude', () =>
      ledger.conclude({
        fence,
        isShared: false,
        execution: claimOf('c', 2),
        state: 'failed',
        attempts: 1,
        error: { name: 'Error', message: 'no' },
        reply: null,
        deadLetter: null,
        outbox: null,
      }),
    );
    await step('findReplies', () => ledger.findReplies(fence.lane.scope, [Buffer.from('a')]));
    await step('beat', () => ledger.care.beat());
    await step('ping', () => ledger.ping());
    return hanging;
  }

  it.each([
    ['on the way there', 'fromClient', { pipeline: true, fresh: false }],
    ['on the way back', 'fromServer', { pipeline: true, fresh: false }],
    ['on the way there, without pipelining', 'fromClient', { pipeline: false, fresh: false }],
    ['on the way back, without pipelining', 'fromServer', { pipeline: false, fresh: false }],
    ['on the way there, while it is made', 'fromClient', { pipeline: true, fresh: true }],
    ['on the way back, while it is made', 'fromServer', { pipeline: true, fresh: true }],
  ] as const)(
    '%s leaves nothing hanging, wherever that is',
    async (_, direction, { pipeline, fresh }) => {
      const url = new URL(databaseUrl());
      url.hostname = '127.0.0.1';
      url.port = String(proxy.port);
      pool = new pg.Pool({
        connectionString: url.href,
        max: 2,
        connectionTimeoutMillis: 10_000,
        pipeline,
      } as pg.PoolConfig);
      const ledger = await schema.open({ connection: pool });
      const other = await schema.open();
      await work(ledger, await laneWithKnownKey(other));
      const run = async (at: number) => {
        const lane = await laneWithKnownKey(other);
        if (fresh) {
          proxy.cut();
          await eventually(() => pool.totalCount === 0);
        }
        passed = { fromClient: 0, fromServer: 0 };
        passes = { fromClient: Infinity, fromServer: Infinity, [direction]: at };
        return { at, hanging: await work(ledger, lane) };
      };
      await run(Infinity);
      const all = passed[direction];
      expect(all).toBeGreaterThan(1_000);
      for (let at = 0; at < all; at += Math.ceil(all / 100)) {
        expect(await run(at)).toEqual({ at, hanging: [] });
        expect(passes[direction]).toBe(Infinity);
      }
    },
    120_000,
  );
});
