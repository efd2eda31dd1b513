import assert from 'node:assert/strict';
import { eventually } from './eventually.js';
import {
  always,
  claimOf,
  conclusionOf,
  knownOf,
  look,
  outboxOf,
  rejectsWith,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';
import { abandoned, completed, LONG, record, replyOf, stepsOf, twins, under, verdict } from './claims-kit.js';
import { stepOf } from './ledger-steps.contract.js';

export function describeClaims({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('claims', () => {
    it('hold keys until they are completed, with replies, outbox and fence in one', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      const [a, b, c] = [claimOf('a', 5), claimOf('b', 6), claimOf('c', 7)] as const;
      assert.deepEqual(await ledger.claims.claim(lane, [c, a, b], LONG), ['claimed', 'claimed', 'claimed']);
      assert.deepEqual(
        await verdict(other, otherLane, claimOf('a', 90)),
        knownOf(lane.fence.lane, a, 'claimed'),
      );
      const outbox = outboxOf();
      const lost = await ledger.claims.complete({
        ...lane,
        completed: [completed(b), completed(a, { reply: 'yes', outbox: [outbox] })],
        nextOffset: 7n,
      });
      assert.deepEqual(lost, []);
      assert.deepEqual(await verdict(other, otherLane, claimOf('a', 90)), knownOf(lane.fence.lane, a));
      assert.deepEqual(
        await verdict(other, otherLane, claimOf('c', 90)),
        knownOf(lane.fence.lane, c, 'claimed'),
      );
      assert.equal(await replyOf(other, lane, 'a'), 'yes');
      assert.equal(await replyOf(other, lane, 'b'), undefined);
      const next = await other.takeFence(lane.fence.lane, always);
      assert.equal(next.fence.nextOffset, 7n);
      assert.deepEqual(next.fence.inWork, [7n]);
      assert.deepEqual(next.undispatched, [outbox]);
    });

    it('are taken over with their steps when the lease is over, and the former owner stores nothing any more', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      const mine = claimOf('a', 5);
      await ledger.claims.claim(lane, [mine, claimOf('b', 6)], 300);
      await record(ledger, lane, 'a', 'charge');
      const theirs = claimOf('a', 90);
      await eventually(
        'the lease is over',
        async () => (await verdict(other, otherLane, theirs)) === 'resumed',
      );
      assert.deepEqual(await stepsOf(other, otherLane, 'a'), ['charge']);

      await rejectsWith(
        ledger.steps.record({
          scope: lane.fence.lane.scope,
          key: mine.key,
          step: stepOf(1, 'late'),
          token: lane.token,
        }),
        'KT_LEASE_LOST',
      );
      assert.deepEqual(
        await ledger.claims.renew([lane.token, otherLane.token], LONG),
        new Map([
          [lane.token, new Set(['b'])],
          [otherLane.token, new Set(['a'])],
        ]),
      );
      const lost = await ledger.claims.complete({
        ...lane,
        completed: [completed(mine, { reply: 'late', outbox: [outboxOf()] }), completed(claimOf('b', 6))],
        nextOffset: 7n,
      });
      assert.deepEqual(lost, [mine.key]);
      await ledger.claims.release(lane.token, [mine.key]);
      const next = await ledger.takeFence(lane.fence.lane, always);
      assert.equal(next.fence.nextOffset, 5n);
      assert.deepEqual(next.undispatched, []);
      assert.equal(await replyOf(ledger, lane, 'a'), undefined);

      assert.deepEqual(
        await other.claims.complete({
          ...otherLane,
          completed: [completed(theirs, { reply: 'yes' })],
          nextOffset: 91n,
        }),
        [],
      );
      assert.deepEqual(await look(ledger, next.fence, [mine, claimOf('b')]), [
        knownOf(otherLane.fence.lane, theirs),
        knownOf(lane.fence.lane, claimOf('b', 6)),
      ]);
      assert.equal(await replyOf(ledger, lane, 'a'), 'yes');
    });

    it('stay for as long as they are renewed, and are taken by one of two that find them over', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      await abandoned(ledger, lane, claimOf('a'));
      await ledger.claims.renew([lane.token], LONG);
      assert.deepEqual(
        await verdict(other, otherLane, claimOf('a')),
        knownOf(lane.fence.lane, claimOf('a'), 'claimed'),
      );
      await ledger.claims.renew([lane.token], 0);
      const third = under(otherLane.fence);
      const verdicts = await Promise.all([
        verdict(other, otherLane, claimOf('a')),
        verdict(other, third, claimOf('a')),
      ]);
      assert.equal(verdicts.filter((each) => each === 'resumed').length, 1);
    });

    it('of another content are not taken over', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      await abandoned(ledger, lane, claimOf('a', 1, 7n));
      assert.deepEqual(
        await verdict(other, otherLane, claimOf('a', 2, 8n)),
        knownOf(lane.fence.lane, claimOf('a', 1, 7n), 'claimed'),
      );
    });

    it('that are released are free at once: new ones without a trace, others with their steps', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      const executions = [claimOf('new', 1), claimOf('begun', 2), claimOf('kept', 3)];
      await ledger.claims.claim(lane, executions, LONG);
      await record(ledger, lane, 'begun', 'charge');
      await ledger.claims.release(lane.token, [executions[0]!.key, executions[1]!.key, Buffer.from('?')]);
      assert.deepEqual(await other.claims.claim(otherLane, executions, LONG), [
        'claimed',
        'resumed',
        knownOf(lane.fence.lane, executions[2]!, 'claimed'),
      ]);
      await ledger.claims.release(lane.token, [executions[1]!.key]);
      assert.deepEqual(await verdict(ledger, lane, executions[1]!), {
        ...knownOf(lane.fence.lane, executions[1]!, 'claimed'),
      });
    });

    it('under a superseded epoch are refused, and so is their completion', async () => {
      const { ledger, lane, other } = await twins(world());
      await ledger.claims.claim(lane, [claimOf('a', 1)], LONG);
      const { fence: newer } = await other.takeFence(lane.fence.lane, always);
      const completion = {
        ...lane,
        completed: [completed(claimOf('a', 1), { reply: 'late' })],
        nextOffset: 2n,
      };
      assert.deepEqual(newer.inWork, [1n]);
      await rejectsWith(ledger.claims.complete(completion), 'KT_FENCED');
      await rejectsWith(ledger.claims.claim(lane, [claimOf('b')], LONG), 'KT_FENCED');
      await rejectsWith(ledger.claims.reclaim(lane, claimOf('b'), LONG), 'KT_FENCED');
      assert.equal(await replyOf(other, lane, 'a'), undefined);
      assert.deepEqual(await look(other, newer, [claimOf('a'), claimOf('b')]), [
        knownOf(lane.fence.lane, claimOf('a', 1), 'claimed'),
        'claimed',
      ]);
      assert.equal((await other.takeFence(lane.fence.lane, always)).fence.nextOffset, 0n);
    });

    it('move the fence also where nothing was left to complete', async () => {
      const { ledger, lane } = await twins(world());
      await ledger.claims.complete({ ...lane, completed: [], nextOffset: 9n });
      assert.equal((await ledger.takeFence(lane.fence.lane, always)).fence.nextOffset, 9n);
    });

    it('of a failed request are for one, forget its error when they complete, and bring it back when released', async () => {
      const { ledger, lane, other, otherLane } = await twins(world());
      const [first, second] = [claimOf('a', 1), claimOf('a', 5)];
      await ledger.conclude(conclusionOf(lane.fence, first, { reply: Buffer.from('no') }));
      assert.deepEqual(await verdict(ledger, lane, second), knownOf(lane.fence.lane, first, 'failed'));
      for (const end of ['release', 'complete'] as const) {
        await ledger.claims.reclaim(lane, second, LONG);
        await rejectsWith(other.claims.reclaim(otherLane, claimOf('a', 90), LONG), 'KT_IN_WORK');
        assert.deepEqual(
          await verdict(other, otherLane, claimOf('a', 90)),
          knownOf(lane.fence.lane, first, 'claimed'),
        );
        if (end === 'complete') {
          await ledger.claims.complete({ ...lane, completed: [completed(second)], nextOffset: 6n });
          assert.deepEqual(await look(ledger, lane.fence, [second]), [knownOf(lane.fence.lane, second)]);
          assert.equal(await replyOf(ledger, lane, 'a'), undefined);
        } else {
          await ledger.claims.release(lane.token, [second.key]);
          assert.deepEqual(await look(ledger, lane.fence, [second]), [
            knownOf(lane.fence.lane, first, 'failed'),
          ]);
          assert.equal(await replyOf(ledger, lane, 'a'), 'no');
        }
      }
    });
  });
}
