import assert from 'node:assert/strict';
import { systemClock } from '../../runtime/clock.js';
import { type ContractRunner, type CurrentWorld } from './ledger-contract-world.js';
import {
  HOUR,
  due,
  error,
  letterOf,
  nameOf,
  openLane,
  postponementOf,
  sequenceOf,
  work,
} from './parking-kit.js';

/** What operators see of parked records, and do about them. */
export function describeParkedOrders({ describe, it }: ContractRunner, current: CurrentWorld): void {
  describe('parked records, to operators', () => {
    const open = () => openLane(current);

    it('are listed for operators by what they are of, page by page', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0, { retryAfter: HOUR }));
      await ledger.parking.park(sequenceOf(fence, 'b', 1));
      await work(ledger, { fence, appended: [letterOf('b', 2)], removed: [] });
      const [first] = await ledger.parking.list(lane.scope, 1, undefined);
      const rest = await ledger.parking.list(lane.scope, 10, first!.id);
      const { nextRetry, parkedAt, id, ...facts } = rest[0]!;
      assert.ok(
        Number(id) > Number(first!.id) && nextRetry! <= systemClock.now() && parkedAt <= systemClock.now(),
      );
      const { scope, topic, topicId, partition } = lane;
      assert.deepEqual(facts, {
        scope,
        topic,
        topicId,
        partition,
        offset: 1n,
        recordKey: Buffer.from('b'),
        letters: 2,
        failures: 3,
        retries: 0,
        state: 'waiting',
        error,
      });
      assert.deepEqual(await ledger.parking.list({ ...lane.scope, topic: 'other' }, 10, undefined), []);
      assert.equal((await ledger.parking.list({ id }, 10, undefined)).length, 1);
    });

    it('are tried at once where an operator wants it, with all their tries before them', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0, { retryAfter: HOUR }));
      await ledger.parking.postpone(lane, postponementOf('a', 0, { retryAfter: null }));
      assert.equal(await ledger.parking.retry({ topic: 'other' }), 0);
      assert.equal(await ledger.parking.retry(lane.scope), 1);
      const [head] = (await due(ledger, lane)).heads;
      assert.deepEqual([head?.offset, head?.retries, head?.failures], [0n, 0, 4]);
    });

    it('come with the order of an operator as far as it goes, and without it behind that', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0, { retryAfter: HOUR }));
      await work(ledger, { fence, appended: [letterOf('a', 1)], removed: [] });
      const id = (await ledger.parking.list(lane.scope, 1, undefined))[0]!.id;
      const skip = { state: 'skipped', reason: 'known' } as const;
      assert.equal(await ledger.parking.order(id, skip, false), true);
      assert.equal(await ledger.parking.order('999999999', skip, false), false);
      assert.deepEqual((await due(ledger, lane)).heads[0]?.order, skip);
      const remove = (offset: bigint) =>
        work(ledger, { fence, appended: [], removed: [{ sequence: nameOf('a'), offset }] });
      await remove(0n);
      assert.equal((await due(ledger, lane)).heads[0]?.order, undefined);
      const drop = { state: 'dead', reason: 'all of it' } as const;
      await ledger.parking.order(id, drop, true);
      await work(ledger, { fence, appended: [letterOf('a', 2)], removed: [] });
      assert.deepEqual((await due(ledger, lane)).heads[0]?.order, drop);
      await remove(1n);
      const [last] = (await due(ledger, lane)).heads;
      assert.deepEqual([last?.offset, last?.order], [2n, undefined]);
    });
  });
}
