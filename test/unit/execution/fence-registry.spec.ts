import { FencedError, LedgerUnreachableError } from '../../../lib/errors/errors.js';
import { FenceRegistry } from '../../../lib/execution/fence-registry.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { outboxOf } from '../../../lib/testing/contract/ledger-contract-world.js';
import { ExecutionWorld, expectRun, finished, laneOf, record } from './execution-world.js';

describe('FenceRegistry', () => {
  let world: ExecutionWorld;

  beforeEach(async () => {
    world = await new ExecutionWorld().open();
  });

  afterEach(() => world.ledger.close());

  const lane = laneOf('Handlers.run');

  it('takes a fence once per lane and assignment', async () => {
    const first = await world.fences.take(lane, world.holder);
    expect(await world.fences.take(lane, world.holder)).toBe(first);
    const next = await world.fences.take(lane, world.newHolder(2));
    expect(next.epoch).toBeGreaterThan(first.epoch);
    const other = await world.fences.take(laneOf('Handlers.run', 1), world.holder);
    expect(other.lane.partition).toBe(1);
  });

  it('knows how far a commit moved it, and nothing of commits under an earlier epoch', async () => {
    const first = await world.fences.take(lane, world.holder);
    world.fences.advance(first, 7n);
    expect((await world.fences.take(lane, world.holder)).nextOffset).toBe(7n);
    const next = await world.fences.take(lane, world.newHolder(2));
    world.fences.advance(first, 99n);
    expect((await world.fences.take(lane, world.newHolder(2))).nextOffset).toBe(next.nextOffset);
  });

  describe('with records of a later leader', () => {
    const logOf = (
      leaderEpoch: number | undefined,
      position: bigint,
      ...ends: (bigint | undefined | Error)[]
    ) => {
      const asked: number[] = [];
      const endOf = (epoch: number) => {
        asked.push(epoch);
        const end = ends.shift();
        return end instanceof Error ? Promise.reject(end) : Promise.resolve(end);
      };
      return { leaderEpoch, position, endOf, asked };
    };
    const stored = () => {
      const { nextOffset, leaderEpoch } = world.ledger.store.fences.values().next().value!;
      return [nextOffset, leaderEpoch];
    };

    beforeEach(async () => {
      const fence = await world.fences.take(lane, { ...world.holder, log: logOf(3, 0n) });
      await world.ledger.moveFence(fence, 8n);
      world.fences.forget(fence, undefined);
      expect(stored()).toEqual([8n, 3]);
    });

    it('lowers the fence to where the log lost its end, once, however many take it', async () => {
      const log = logOf(5, 2n, 4n, 4n);
      const holder = { ...world.newHolder(2), log };
      const taken = await Promise.all([1, 2, 3].map(() => world.fences.take(lane, holder)));
      expect(taken.map(({ nextOffset }) => nextOffset)).toEqual([4n, 4n, 4n]);
      expect(new Set(taken.map(({ epoch }) => epoch)).size).toBe(1);
      expect([log.asked, stored()]).toEqual([
        [3, 3],
        [4n, 5],
      ]);
    });

    it.each([
      ['has all of it', 8n],
      ['can not tell', undefined],
    ])('leaves it where the leader %s', async (_, end) => {
      const log = logOf(5, 2n, end);
      const holder = { ...world.newHolder(2), log };
      await Promise.all([world.fences.take(lane, holder), world.fences.take(lane, holder)]);
      expect((await world.fences.take(lane, holder)).nextOffset).toBe(8n);
      expect([log.asked, stored()]).toEqual([[3], [8n, 5]]);
    });

    it('follows the latest of several leaders, whoever comes first', async () => {
      const holder = world.newHolder(2);
      const taken = await Promise.all(
        [4, 6, 5].map((epoch) => world.fences.take(lane, { ...holder, log: logOf(epoch, 8n) })),
      );
      expect(taken.map(({ leaderEpoch }, index) => leaderEpoch! >= [4, 6, 5][index]!)).toEqual([
        true,
        true,
        true,
      ]);
      expect(stored()).toEqual([8n, 6]);
    });

    it('asks nobody where the reader sees to it, nor of an earlier leader, nor of a letter', async () => {
      for (const log of [logOf(undefined, 2n), logOf(2, 2n), logOf(3, 2n), logOf(5, 8n)]) {
        expect((await world.fences.take(lane, { ...world.holder, log })).nextOffset).toBe(8n);
        expect([log.asked, stored()]).toEqual([[], [8n, Math.max(3, log.leaderEpoch ?? 0)]]);
      }
    });

    it('is not taken while the leader does not answer, nor lowered by who is no member', async () => {
      const log = logOf(5, 2n, new Error('no answer'), 4n, 4n, 4n);
      const holder = { ...world.newHolder(2), log };
      await expect(world.fences.take(lane, holder)).rejects.toThrow('no answer');
      const expelled = { ...holder, confirm: () => Promise.resolve(false) };
      await expect(world.fences.take(lane, expelled)).rejects.toThrow(FencedError);
      expect(stored()).toEqual([8n, 3]);
      expect((await world.fences.take(lane, holder)).nextOffset).toBe(4n);
    });

    it('leaves a fence alone that knows of no leader, until nothing of it is above the position', async () => {
      world.ledger.store.fences.forEach(({ leaderEpoch, ...fence }, name, fences) => {
        expect(leaderEpoch).toBe(3);
        fences.set(name, fence);
      });
      const below = logOf(5, 7n);
      await world.fences.take(lane, { ...world.newHolder(2), log: below });
      await world.fences.take(lane, { ...world.newHolder(2), log: logOf(6, 8n) });
      expect([below.asked, stored()]).toEqual([[], [8n, undefined]]);
      await world.fences.take(lane, { ...world.newHolder(3), log: logOf(5, 8n) });
      expect(stored()).toEqual([8n, 5]);
    });

    it('leaves the fence of an idle lane where later records were done that were not its own', async () => {
      const fence = await world.fences.take(lane, { ...world.holder, log: logOf(3, 0n) });
      const partition = { ...lane, group: lane.scope.group };
      await world.fences.doneBelow(partition, 20n, 5);
      expect(stored()).toEqual([8n, 3]);
      await world.fences.doneBelow(partition, 20n, fence.leaderEpoch);
      expect(stored()).toEqual([20n, 3]);
    });
  });

  it('asks the ledger anew for what it was told to forget', async () => {
    const first = await world.fences.take(lane, world.holder);
    world.fences.advance(first, 7n);
    world.fences.forget(await world.fences.take(lane, world.holder), new Error('a broken connection'));
    const again = await world.fences.take(lane, world.holder);
    expect(again.nextOffset).toBe(0n);
    expect(again.epoch).toBeGreaterThan(first.epoch);
  });

  it('takes what was lost to another process as a confirmed member only', async () => {
    const answers: (boolean | Error)[] = [new Error('no answer'), false, true];
    const confirm = () => {
      const answer = answers.shift()!;
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    };
    const holder = { ...world.holder, confirm };
    const first = await world.fences.take(lane, holder);
    const successor = await new ExecutionWorld(world.ledger.store).open();
    const theirs = await successor.fences.take(lane, successor.holder);
    world.fences.forget(first, new FencedError('superseded'));

    await expect(world.fences.take(lane, holder)).rejects.toThrow(FencedError);
    await expect(world.fences.take(lane, holder)).rejects.toThrow(FencedError);
    expect(world.ledger.store.fences.values().next().value?.epoch).toBe(theirs.epoch);
    expect((await world.fences.take(lane, holder)).epoch).toBeGreaterThan(theirs.epoch);
    expect(answers).toEqual([]);
    // A new assignment says that it is a member.
    world.fences.forget(await world.fences.take(lane, holder), new FencedError('superseded'));
    await world.fences.take(lane, world.newHolder(2));
    await successor.ledger.close();
  });

  it('takes what a commit failed with as a confirmed member only: its successor may have ended the connection', async () => {
    const answers = [false, true];
    const holder = { ...world.holder, confirm: () => Promise.resolve(answers.shift()!) };
    const first = await world.fences.take(lane, holder);
    const successor = await new ExecutionWorld(world.ledger.store).open();
    const theirs = await successor.fences.take(lane, successor.holder);
    world.fences.forget(first, new LedgerUnreachableError('the connection was lost'));

    await expect(world.fences.take(lane, holder)).rejects.toThrow(FencedError);
    expect(world.ledger.store.fences.values().next().value?.epoch).toBe(theirs.epoch);
    expect((await world.fences.take(lane, holder)).epoch).toBeGreaterThan(theirs.epoch);
    await successor.ledger.close();
  });

  it('has what an earlier owner left behind produced, in order, before it is handed out', async () => {
    const only = record(0);
    const group = world.group();
    const work = world.work([only]);
    expectRun(await group.admit(work, only));
    const outbox = ['a', 'b', 'c'].map((value) => outboxOf({ value: Buffer.from(value) }));
    await group.commit([finished(work, only, { outbox })]);
    const heir = await new ExecutionWorld(world.ledger.store).open();
    await heir.fences.take(lane, heir.holder);
    expect(heir.produced.map(({ value }) => value!.toString())).toEqual(['a', 'b', 'c']);
    await new FenceRegistry(heir.ledger, heir.dispatcher, systemClock, silentLog).take(lane, heir.holder);
    expect(heir.produced).toHaveLength(3);
    await heir.ledger.close();
  });
});
