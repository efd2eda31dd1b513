import assert from 'node:assert/strict';
import type { ExecutionClaim, Fence } from '../../execution/ledger.js';
import { positionKey } from '../../messages/idempotency-key.js';
import { systemClock } from '../../runtime/clock.js';
import {
  always,
  claimOf,
  conclusionOf,
  knownOf,
  look,
  newLane,
  rejectsWith,
  run,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

export function describeTruncations({ describe, it }: ContractRunner, world: CurrentWorld): void {
  const atPosition = (
    { lane: { topicId, partition } }: Fence,
    offset: bigint,
    fingerprint = 7n,
  ): ExecutionClaim => claimOf(positionKey(topicId, partition, offset).encoded, offset, fingerprint);

  describe('a log that lost its end', () => {
    it('tells the lanes that a group has in a partition', async () => {
      const ledger = await world().openLedger();
      const lane = newLane();
      const other = { ...lane, scope: { ...lane.scope, handler: 'Orders.audit' } };
      const { group } = lane.scope;
      await ledger.takeFence(lane, always);
      await ledger.takeFence(other, always);
      await ledger.takeFence({ ...lane, partition: 1 }, always);
      await ledger.takeFence({ ...lane, topicId: systemClock.uuid() }, always);
      await ledger.takeFence({ ...lane, scope: { ...lane.scope, group: `${group}-other` } }, always);
      const lanes = await ledger.truncations.lanesOf({ group, topicId: lane.topicId, partition: 0 });
      const byHandler = [...lanes].sort((a, b) => (a.scope.handler < b.scope.handler ? -1 : 1));
      assert.deepEqual(byHandler, [other, lane]);
    });

    it('lowers the fence to where the log ends, and no further', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [], {}, 20n);
      await ledger.truncations.lower(fence, 5n);
      const { fence: lowered } = await ledger.takeFence(fence.lane, always);
      assert.deepEqual([lowered.nextOffset, lowered.rowsBelow], [5n, 5n]);
      await ledger.truncations.lower(lowered, 9n);
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 5n);
    });

    it('is nothing to a lane that never got so far', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [atPosition(fence, 3n)], {}, 4n);
      await ledger.truncations.lower(fence, 4n);
      const { fence: same } = await ledger.takeFence(fence.lane, always);
      assert.equal(same.nextOffset, 4n);
      assert.deepEqual(await look(ledger, same, [atPosition(same, 3n)]), [
        knownOf(fence.lane, atPosition(fence, 3n)),
      ]);
    });

    it('is followed by the owner alone', async () => {
      const [ledger, successor] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [atPosition(fence, 6n)], {}, 20n);
      const { fence: newer } = await successor.takeFence(fence.lane, always);
      await rejectsWith(ledger.truncations.lower(fence, 5n), 'KT_FENCED');
      const { fence: same } = await successor.takeFence(fence.lane, always);
      assert.equal(same.nextOffset, 20n);
      assert.deepEqual(await look(successor, same, [atPosition(newer, 6n)]), [
        knownOf(fence.lane, atPosition(fence, 6n)),
      ]);
    });

    it('is told by a leader epoch, which is stored until a higher one is', async () => {
      const [ledger, successor] = [await world().openLedger(), await world().openLedger()];
      const lane = newLane();
      const taken = await ledger.takeFence(lane, always);
      assert.equal(taken.fence.leaderEpoch, undefined);
      await ledger.truncations.follow(taken.fence, 3);
      const { fence } = await successor.takeFence(lane, always);
      assert.equal(fence.leaderEpoch, 3);
      await run(successor, fence, [], {}, 20n);
      await successor.truncations.follow(fence, 5);
      await successor.truncations.follow(fence, 4);
      await successor.truncations.lower(fence, 10n);
      const { fence: next } = await ledger.takeFence(lane, always);
      assert.deepEqual([next.leaderEpoch, next.nextOffset], [5, 10n]);
      await rejectsWith(successor.truncations.follow(fence, 7), 'KT_FENCED');
      assert.equal((await ledger.takeFence(lane, always)).fence.leaderEpoch, 5);
      const other = await ledger.takeFence({ ...lane, partition: 1 }, always);
      assert.equal(other.fence.leaderEpoch, undefined);
      await ledger.truncations.follow(other.fence, 0);
      const again = await ledger.takeFence({ ...lane, partition: 1 }, always);
      assert.equal(again.fence.leaderEpoch, 0);
    });

    it('has a leader epoch stored while a group is at work that shares the lane', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: null, executions: [claimOf('a', 1)] });
      await ledger.truncations.follow(fence, 2);
      await transaction.commit({ releases: [], replies: [], outbox: [] });
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.leaderEpoch, 2);
    });

    it('has a leader epoch stored while the fence moves', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await ledger.truncations.follow(fence, 2);
      await run(ledger, fence, [], {}, 5n);
      await ledger.moveFence(fence, 9n);
      const { fence: next } = await ledger.takeFence(fence.lane, always);
      assert.deepEqual([next.leaderEpoch, next.nextOffset], [2, 9n]);
    });

    it('has positions behind its end known no more, whatever their content, and other keys as before', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const before = [atPosition(fence, 4n), atPosition(fence, 5n), atPosition(fence, 6n), claimOf('key', 7)];
      await run(ledger, fence, before, {}, 8n);
      await ledger.truncations.lower(fence, 5n);
      const { fence: lowered } = await ledger.takeFence(fence.lane, always);
      const again = [before[0]!, before[1]!, atPosition(fence, 6n, 8n), before[3]!];
      assert.deepEqual(await run(ledger, lowered, again, {}, 7n), [
        knownOf(fence.lane, before[0]!),
        'claimed',
        'claimed',
        knownOf(fence.lane, before[3]!),
      ]);
    });

    it('leaves nothing of a lost record to the one at its place, and keeps its dead letter', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { scope, topic, topicId } = fence.lane;
      const dead = atPosition(fence, 6n);
      const letter = {
        reason: 'exhausted',
        timestamp: 5,
        key: null,
        value: Buffer.from('lost'),
        headers: [],
      };
      const reply = Buffer.from('to the lost one');
      await ledger.conclude(conclusionOf(fence, dead, { state: 'dead', deadLetter: letter, reply }));
      await ledger.failures.note(fence, {
        offset: 7n,
        failures: 3,
        error: { name: 'Error', message: 'of the lost one' },
      });
      await ledger.truncations.lower(fence, 5n);

      const { fence: lowered } = await ledger.takeFence(fence.lane, always);
      assert.equal(await ledger.findExecution(scope, dead.key), undefined);
      assert.equal((await ledger.findReplies(scope, [dead.key])).size, 0);
      assert.deepEqual(await ledger.failures.find(lowered, lowered.nextOffset), []);
      const filter = { group: scope.group, state: 'dead' } as const;
      const [kept, ...others] = (await ledger.reader.list(filter, 10, undefined)).executions;
      assert.deepEqual(others, []);
      assert.deepEqual([kept!.topic, kept!.offset, kept!.state], [topic, 6n, 'dead']);
      assert.notEqual(kept!.topicId, topicId);
    });

    it('gives up what was claimed of the lost ones, with its steps', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { scope } = fence.lane;
      const lost = atPosition(fence, 6n);
      const token = systemClock.uuid();
      await ledger.claims.claim({ fence, token }, [lost], 60_000);
      const step = { position: 0, name: 'charge', result: Buffer.from('receipt') };
      await ledger.steps.record({ scope, key: lost.key, step, token });
      await ledger.truncations.lower(fence, 5n);

      const { fence: lowered } = await ledger.takeFence(fence.lane, always);
      assert.equal(lowered.inWork, undefined);
      assert.deepEqual(await ledger.steps.find(scope, lost.key), []);
      const other = { fence: lowered, token: systemClock.uuid() };
      assert.deepEqual(await ledger.claims.claim(other, [atPosition(lowered, 6n, 8n)], 60_000), ['claimed']);
    });
  });
}
