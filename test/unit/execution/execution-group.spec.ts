import {
  CommitUnknownError,
  FencedError,
  IdempotencyKeyError,
  KeyReusedError,
  LedgerUnreachableError,
} from '../../../lib/errors/errors.js';
import { conclusionOf } from '../../../lib/testing/contract/ledger-contract-world.js';
import type { InMemoryTransactionClient } from '../../../lib/testing/in-memory-transaction.js';
import { effectOf, ExecutionWorld, expectRun, finished, laneOf, record } from './execution-world.js';

describe('ExecutionGroup', () => {
  let world: ExecutionWorld;

  beforeEach(async () => {
    world = await new ExecutionWorld().open();
  });

  afterEach(() => world.ledger.close());

  const offsets = (count: number, first = 0) =>
    Array.from({ length: count }, (_, index) => BigInt(first + index));
  const fence = (handler = 'Handlers.run') =>
    [...world.ledger.store.fences.values()].find(({ lane }) => lane.scope.handler === handler)?.nextOffset;

  it('runs new records, and none of them again', async () => {
    const records = [record(0, 'a'), record(1), record(2, 'b')];
    expect(await world.run(records)).toEqual(offsets(3));
    expect(fence()).toBe(3n);
    expect(await world.run(records)).toEqual([]);
    expect(await world.run([record(1), record(2, 'b'), record(3, 'a'), record(4, 'c')])).toEqual([4n]);
    expect(world.effects).toEqual(['a', '0/1', 'b', 'c']);
  });

  it('gives back what did not run in a group that closed early', async () => {
    const records = [record(0, 'a'), record(1, 'b'), record(2), record(3, 'c')];
    expect(await world.run(records, { stopAfter: 1 })).toEqual([0n]);
    expect(fence()).toBe(1n);
    expect(world.ledger.store.executions.size).toBe(1);
    expect(await world.run(records.slice(1))).toEqual([1n, 2n, 3n]);
  });

  it.each([
    ['a repetition', record(1, 'a')],
    ['a reuse', record(1, 'a', { value: 'another' })],
  ])('keeps the first record of a key when %s of it did not run', async (_, second) => {
    await world.run([record(0, 'a'), second], { stopAfter: 1 });
    expect(world.ledger.store.executions.size).toBe(1);
    expect(await world.run([record(2, 'a')])).toEqual([]);
  });

  it('knows a repetition within the group, and a reuse', async () => {
    const records = [record(0, 'a'), record(1, 'a'), record(2, 'a', { value: 'another' }), record(3, 'b')];
    const group = world.group();
    const work = world.work(records);
    expectRun(await group.admit(work, records[0]!));
    expect(await group.admit(work, records[1]!)).toEqual({ kind: 'repeated', of: records[0] });
    await expect(group.admit(work, records[2]!)).rejects.toThrow(KeyReusedError);
    expectRun(await group.admit(work, records[3]!));
    await group.rollback();
  });

  it('hands one record out once, however often it is admitted', async () => {
    const [only] = [record(0, 'a')];
    const group = world.group();
    const work = world.work([only]);
    expectRun(await group.admit(work, only));
    expect(await group.admit(work, only)).toEqual({ kind: 'repeated', of: only });
    await group.rollback();
  });

  it('does not let records without a usable key hold up the others', async () => {
    const bad = record(1, '');
    const records = [record(0, 'a'), bad, record(2, 'b')];
    const group = world.group();
    const work = world.work(records);
    expectRun(await group.admit(work, records[0]!));
    await expect(group.admit(work, bad)).rejects.toThrow(IdempotencyKeyError);
    await group.rollback();
    await world.run([records[0]!]);
    await world.run([records[2]!]);
    // Below the fence it is over, key or no key.
    const again = world.group();
    expect(await again.admit(world.work(records), bad)).toEqual({ kind: 'duplicate', reply: undefined });
    await again.rollback();
    expect(world.effects).toEqual(['a', 'b']);
  });

  it('keeps the handlers of a record apart', async () => {
    const records = [record(0, 'a'), record(1, 'b')];
    const group = world.group();
    const first = world.work(records, { handler: 'first' });
    const second = world.work(records, { handler: 'second' });
    for (const [work, of] of [
      [first, records[0]!],
      [second, records[0]!],
      [first, records[1]!],
    ] as const) {
      expectRun(await group.admit(work, of));
    }
    await group.commit([
      finished(first, records[0]!),
      finished(second, records[0]!),
      finished(first, records[1]!),
    ]);
    expect(fence('first')).toBe(2n);
    expect(fence('second')).toBe(1n);
    const next = world.group();
    expectRun(await next.admit(world.work([records[1]!], { handler: 'second' }), records[1]!));
    await next.rollback();
  });

  it('leaves nothing of what was rolled back, and stores replies under the key of their own handler', async () => {
    const records = [record(0, 'a')];
    const group = world.group();
    const work = world.work(records, { kind: () => 'request' });
    expectRun(await group.admit(work, records[0]!));
    await group.rollback();
    expect(world.ledger.store.executions.size).toBe(0);
    const again = world.group();
    expectRun(await again.admit(work, records[0]!));
    await again.commit([finished(work, records[0]!, { reply: Buffer.from('reply') })]);
    const later = world.group();
    const repeated = record(1, 'a');
    expect(await later.admit(world.work([repeated], { kind: () => 'request' }), repeated)).toEqual({
      kind: 'duplicate',
      reply: Buffer.from('reply'),
    });
    await later.rollback();
  });

  it('runs a failed request again for a new record only', async () => {
    const [first] = [record(0, 'a')];
    const kind = () => 'request' as const;
    const group = world.group();
    const { claim, fence: held } = expectRun(await group.admit(world.work([first], { kind }), first));
    await group.rollback();
    await world.ledger.conclude(
      conclusionOf(held, claim, { state: 'failed', reply: Buffer.from('no'), outbox: null }),
    );
    world.fences.forget(await world.fences.take(laneOf('Handlers.run'), world.holder), undefined);
    const again = world.group();
    expect(await again.admit(world.work([first], { kind }), first)).toEqual({
      kind: 'duplicate',
      reply: Buffer.from('no'),
    });
    await again.rollback();
    const anew = world.group();
    const second = record(1, 'a');
    const work = world.work([second], { kind });
    expectRun(await anew.admit(work, second));
    await anew.commit([finished(work, second, { reply: Buffer.from('yes') })]);
    expect([...world.ledger.store.replies.values()].map(({ body }) => body)).toEqual([Buffer.from('yes')]);
  });

  it('forgets its fence when it is fenced, and takes the next epoch', async () => {
    await world.run([record(0)]);
    const other = await new ExecutionWorld(world.ledger.store).open();
    expect(await other.run([record(1)])).toEqual([1n]);
    await expect(world.run([record(1), record(2)])).rejects.toThrow(FencedError);
    expect(await world.run([record(1), record(2)])).toEqual([2n]);
    expect(world.effects).toEqual(['0/0', '0/1', '0/2']);
    await other.ledger.close();
  });

  it.each([true, false])(
    'lets the ledger tell what became of a COMMIT without answer (stored: %s)',
    async (stored) => {
      await world.run([record(0, 'a')]);
      world.ledger.loseNextCommitAnswer(stored);
      await expect(world.run([record(1, 'b'), record(2)])).rejects.toThrow(CommitUnknownError);
      expect(await world.run([record(1, 'b'), record(2)])).toEqual(stored ? [] : [1n, 2n]);
      expect(world.effects).toEqual(['a', 'b', '0/2']);
    },
  );

  it('stores nothing while the ledger is away', async () => {
    const group = world.group();
    const only = record(0, 'a');
    const work = world.work([only]);
    expectRun(await group.admit(work, only));
    await (group.transaction.client as InMemoryTransactionClient).insert('effect', effectOf(only));
    world.ledger.store.disconnect();
    expect(group.transaction.broken).toBe(true);
    await expect(group.commit([finished(work, only)])).rejects.toThrow(LedgerUnreachableError);
    await expect(world.run([only])).rejects.toThrow(LedgerUnreachableError);
    world.ledger.store.reconnect();
    expect(await world.run([only])).toEqual([0n]);
    expect(world.effects).toEqual(['a']);
  });

  it.each(Array.from({ length: 30 }, (_, seed) => seed + 1))(
    'has each key take effect once, in order, whatever happens (seed %i)',
    async (seed) => {
      let state = seed;
      const random = () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
      const log = Array.from({ length: 60 }, (_, offset) =>
        record(offset, random() < 0.7 ? `k${Math.floor(random() * 40)}` : undefined),
      );
      let process = world;
      let position = 0;
      let rebalances = 1;
      while (position < log.length) {
        const size = 1 + Math.floor(random() * 12);
        const records = log.slice(position, position + size);
        const stopAfter = 1 + Math.floor(random() * records.length);
        if (random() < 0.1) {
          // Another process takes over, and reads from an offset that was committed some time ago.
          process = await new ExecutionWorld(world.ledger.store).open();
          process.holder = process.newHolder(++rebalances);
          position = Math.max(0, position - Math.floor(random() * 20));
          continue;
        }
        if (random() < 0.15) process.ledger.loseNextCommitAnswer(random() < 0.5);
        try {
          await process.run(records, { stopAfter });
          position += stopAfter;
        } catch (error) {
          if (!(error instanceof CommitUnknownError)) throw error;
        }
      }
      const seen = new Set<string>();
      const expected = log.map(effectOf).filter((effect) => !seen.has(effect) && seen.add(effect));
      expect(world.effects).toEqual(expected);
    },
  );
});
