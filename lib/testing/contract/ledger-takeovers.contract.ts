import assert from 'node:assert/strict';
import {
  always,
  claimOf,
  conclusionOf,
  isPending,
  knownOf,
  look,
  nothing,
  outboxOf,
  rejectsWith,
  run,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';
import { abandoned, completed, LONG, record, replyOf, stepsOf, twins, verdict } from './claims-kit.js';
import { stepOf } from './ledger-steps.contract.js';

export function describeTakeovers({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('a claim and a transaction', () => {
    it('under one key exclude each other: the claim waits for the transaction', async () => {
      for (const end of ['commit', 'rollback'] as const) {
        const { ledger, lane, other, otherLane } = await twins(world());
        const transaction = ledger.transaction();
        const [mine, theirs] = [claimOf('a', 1), claimOf('a', 90)];
        await transaction.claim({ fence: lane.fence, advanceTo: 2n, executions: [mine] });
        const waiting = verdict(other, otherLane, theirs);
        assert.equal(await isPending(waiting), true);
        if (end === 'commit') await transaction.commit(nothing);
        else await transaction.rollback();
        assert.deepEqual(await waiting, end === 'commit' ? knownOf(lane.fence.lane, mine) : 'claimed');
      }
    });

    it('under one key exclude each other: the transaction takes over what is over, and only that', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      const [mine, theirs] = [claimOf('a', 1), claimOf('a', 90)];
      await ledger.claims.claim(lane, [mine], LONG);
      await record(ledger, lane, 'a', 'charge');
      const refused = other.transaction();
      assert.deepEqual(
        await refused.claim({ fence: otherLane.fence, advanceTo: 91n, executions: [theirs] }),
        [knownOf(lane.fence.lane, mine, 'claimed')],
      );
      await rejectsWith(refused.reclaim(otherLane.fence, theirs), 'KT_IN_WORK');
      await refused.rollback();

      await ledger.claims.renew([lane.token], 0);
      for (const end of ['rollback', 'release', 'commit'] as const) {
        const transaction = other.transaction();
        await transaction.claim({ fence: otherLane.fence, advanceTo: 91n, executions: [theirs] });
        await transaction.reclaim(otherLane.fence, theirs);
        if (end === 'commit') await transaction.commit(nothing);
        else if (end === 'rollback') await transaction.rollback();
        else {
          const releases = [{ fence: otherLane.fence, keys: [theirs.key], nextOffset: 90n }];
          await transaction.commit({ ...nothing, releases });
        }
        const known =
          end === 'commit'
            ? knownOf(otherLane.fence.lane, theirs)
            : knownOf(lane.fence.lane, mine, 'claimed');
        assert.deepEqual(await look(other, otherLane.fence, [theirs]), [known]);
      }
      assert.deepEqual(await stepsOf(other, otherLane, 'a'), ['charge']);
      const completion = { ...lane, completed: [completed(mine, { reply: 'late' })], nextOffset: 2n };
      assert.deepEqual(await ledger.claims.complete(completion), [mine.key]);
      assert.equal(await replyOf(ledger, lane, 'a'), undefined);
    });

    it('of a step go together: nothing is written once the claim is lost', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      await abandoned(ledger, lane, claimOf('a'));
      const write = async (name: string, position: number) => {
        const transaction = ledger.transaction();
        await transaction.begin();
        await world().write(transaction.client, name);
        const step = stepOf(position, name);
        const steps = [{ scope: lane.fence.lane.scope, key: Buffer.from('a'), step, token: lane.token }];
        const outbox = [{ lane: lane.fence.lane, record: outboxOf() }];
        await transaction.commit({ ...nothing, steps, outbox }).finally(() => transaction.rollback());
      };
      await write('while it is held', 0);
      assert.equal(await verdict(other, otherLane, claimOf('a')), 'resumed');
      await rejectsWith(write('late', 1), 'KT_LEASE_LOST');
      assert.deepEqual(await world().written(), ['while it is held']);
      assert.deepEqual(await stepsOf(other, otherLane, 'a'), ['while it is held']);
      assert.equal((await other.takeFence(lane.fence.lane, always)).undispatched.length, 1);
    });
  });

  describe('an ending other than success', () => {
    it('of a claimed execution waits until nobody holds it', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      await ledger.claims.claim(lane, [claimOf('a', 1)], LONG);
      await record(ledger, lane, 'a', 'charge');
      const conclusion = conclusionOf(otherLane.fence, claimOf('a', 90), { reply: Buffer.from('no') });
      await rejectsWith(other.conclude(conclusion), 'KT_IN_WORK');
      assert.equal((await other.takeFence(lane.fence.lane, always)).fence.nextOffset, 0n);
      await ledger.claims.release(lane.token, [Buffer.from('a')]);
      assert.equal(await other.conclude(conclusion), undefined);
      assert.deepEqual(await look(other, otherLane.fence, [claimOf('a')]), [
        knownOf(otherLane.fence.lane, claimOf('a', 90), 'failed'),
      ]);
      // A new request goes on behind the steps of the one that failed.
      await other.claims.reclaim(otherLane, claimOf('a', 95), LONG);
      assert.deepEqual(await stepsOf(other, otherLane, 'a'), ['charge']);
    });
  });

  describe('what is in work', () => {
    it('is told with its owner, oldest first, until it has ended', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      await ledger.claims.claim(lane, [claimOf('ga', 1), claimOf('gb', 2)], LONG);
      await record(ledger, lane, 'gb', 'charge');
      await ledger.claims.release(lane.token, [Buffer.from('gb')]);
      await verdict(other, { ...otherLane, fence: otherLane.fence }, claimOf('gc', 9));
      const { group, handler } = lane.fence.lane.scope;
      const told = await ledger.reader.inWork({ group, handler }, 10);
      assert.deepEqual(
        told.map(({ key, held, offset, partition }) => [key, held, offset, partition]),
        [
          ['a', true, 1n, 0],
          ['b', false, 2n, 0],
          ['c', true, 9n, 1],
        ],
      );
      assert.equal(told[0]!.topic, lane.fence.lane.topic);
      assert.ok(told[0]!.leaseUntil - told[0]!.claimedAt >= LONG);
      assert.notEqual(told[0]!.instance, told[2]!.instance);
      assert.equal(await verdict(other, otherLane, claimOf('gb', 8)), 'resumed');
      assert.equal((await ledger.reader.inWork({ group }, 10))[1]!.takeovers, 1);
      assert.equal((await ledger.reader.inWork({ group }, 2)).length, 2);
      assert.deepEqual(await ledger.reader.inWork({ group: 'other' }, 10), []);
      await ledger.claims.complete({ ...lane, completed: [completed(claimOf('ga', 1))], nextOffset: 2n });
      assert.deepEqual(
        (await ledger.reader.inWork({ group }, 10)).map(({ key }) => key),
        ['b', 'c'],
      );
      assert.deepEqual(
        (await ledger.reader.counts({ group })).map(({ claimed }) => claimed),
        [2],
      );
    });
  });

  describe('pruning', () => {
    it('takes steps with their execution, and claims that were given up long ago, never one in work', async () => {
      const { ledger, lane } = await twins(world());
      const executions = ['done', 'left', 'held'].map((key, offset) => claimOf(`g${key}`, offset));
      await ledger.claims.claim(lane, executions, LONG);
      for (const { key } of executions) await record(ledger, lane, String(key), 'charge');
      await ledger.claims.complete({ ...lane, completed: [completed(executions[0]!)], nextOffset: 1n });
      await ledger.claims.release(lane.token, [executions[1]!.key]);
      const gone = { keys: -1_000, messageIds: -1_000 };
      assert.equal((await ledger.care.prune(gone, 100)).deleted, 2);
      assert.deepEqual(await look(ledger, lane.fence, executions), [
        'claimed',
        'claimed',
        knownOf(lane.fence.lane, executions[2]!, 'claimed'),
      ]);
      assert.deepEqual(await stepsOf(ledger, lane, 'gdone'), []);
      assert.deepEqual(await stepsOf(ledger, lane, 'gleft'), []);
      assert.deepEqual(await stepsOf(ledger, lane, 'gheld'), ['charge']);
      await run(ledger, lane.fence, [executions[0]!]);
      assert.deepEqual(await stepsOf(ledger, lane, 'gdone'), []);
    });
  });
}
