import assert from 'node:assert/strict';
import { systemClock } from '../../runtime/clock.js';
import { eventually } from './eventually.js';
import {
  always,
  claimOf,
  conclusionOf,
  newLane,
  nothing,
  rejectsWith,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';
import {
  HOUR,
  due,
  letterOf,
  nameOf,
  offsetsDue,
  openLane,
  postponementOf,
  sequenceOf,
  work,
} from './parking-kit.js';

/** Records that wait for another try, with others behind them. */
export function describeParking({ describe, it }: ContractRunner, current: CurrentWorld): void {
  describe('parked records', () => {
    const open = () => openLane(current);

    it('are kept with all their bytes, and their lane moves on', async () => {
      const { ledger, fence, lane } = await open();
      const odd = letterOf('a', 7, { key: Buffer.alloc(0), value: null, headers: [['x', null]] });
      await ledger.parking.park(sequenceOf(fence, 'a', 7, { letter: odd }));
      const { heads, sequences, next } = await due(ledger, lane);
      assert.equal(sequences, 1);
      assert.ok(next !== undefined && next <= 0);
      const [{ age, ...head }] = heads as [(typeof heads)[number]];
      assert.ok(age !== undefined && age >= 60_000 && age < 120_000);
      assert.deepEqual(head, { ...odd, lane, failures: 3, retries: 0, order: undefined });
      const taken = await ledger.takeFence(lane, always);
      assert.equal(taken.fence.nextOffset, 8n);
      assert.deepEqual(taken.parked, [{ sequence: odd.sequence, letters: 1 }]);
    });

    it('leave the fence of a shared lane where it stands', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 7, { isShared: true }));
      assert.equal((await ledger.takeFence(lane, always)).fence.nextOffset, 0n);
      assert.deepEqual(await offsetsDue(ledger, lane), [7]);
    });

    it('are not parked under an epoch that was superseded', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.takeFence(lane, always);
      for (const isShared of [false, true]) {
        await rejectsWith(ledger.parking.park(sequenceOf(fence, 'a', 0, { isShared })), 'KT_FENCED');
      }
      assert.equal((await due(ledger, lane)).sequences, 0);
    });

    it('are parked once, however often that is asked for', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      await ledger.parking.park(sequenceOf(fence, 'a', 0, { maxSequences: 1 }));
      assert.deepEqual((await ledger.takeFence(lane, always)).parked, [
        { sequence: nameOf('a'), letters: 1 },
      ]);
    });

    it('have no more sequences than there is room for, and what has none is left where it was', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0, { maxSequences: 1 }));
      await rejectsWith(
        ledger.parking.park(sequenceOf(fence, 'b', 5, { maxSequences: 1 })),
        'KT_PARKING_FULL',
      );
      const { fence: now, parked } = await ledger.takeFence(lane, always);
      assert.equal(now.nextOffset, 1n);
      assert.equal(parked.length, 1);
    });

    it('are queued behind the head, each once, and come in the order of their offsets', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      await ledger.parking.park(sequenceOf(fence, 'b', 1));
      const appended = [letterOf('a', 4), letterOf('b', 5), letterOf('a', 6)];
      await work(ledger, { fence, appended, removed: [] });
      await work(ledger, { fence, appended: [letterOf('a', 6)], removed: [] });
      const { parked } = await ledger.takeFence(lane, always);
      const counts = parked.map(({ sequence, letters }) => [sequence.toString(), letters]);
      assert.deepEqual(counts.sort(), [
        ['ka', 3],
        ['kb', 2],
      ]);
      assert.deepEqual((await offsetsDue(ledger, lane)).sort(), [0, 1]);
    });

    it('refuse to queue behind nothing, and nothing of the transaction is stored', async () => {
      const { ledger, fence } = await open();
      const transaction = ledger.transaction();
      const execution = claimOf('x', 0);
      await transaction.claim({ fence, advanceTo: 1n, executions: [execution] });
      await current().write(transaction.client, 'effect');
      const parking = [{ fence, appended: [letterOf('a', 0)], removed: [] }];
      await rejectsWith(transaction.commit({ ...nothing, parking }), 'KT_FENCED');
      await transaction.rollback();
      assert.deepEqual(await current().written(), []);
      assert.equal(await ledger.findExecution(fence.lane.scope, execution.key), undefined);
    });

    it('leave one by one, the next one with no history, and the sequence goes with the last', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      await work(ledger, { fence, appended: [letterOf('a', 3)], removed: [] });
      await ledger.parking.postpone(lane, postponementOf('a', 0, { retryAfter: null }));
      const removed = (offset: bigint) => ({
        fence,
        appended: [],
        removed: [{ sequence: nameOf('a'), offset }],
      });
      const holds = () => ledger.parking.holds(lane, { sequence: nameOf('a'), offset: 0n });
      assert.equal(await holds(), true);
      await work(ledger, removed(0n));
      assert.equal(await holds(), false);
      await work(ledger, removed(0n));
      const [head] = (await due(ledger, lane)).heads;
      assert.deepEqual([head?.offset, head?.failures, head?.retries, head?.age], [3n, 0, 0, undefined]);
      await work(ledger, removed(3n));
      assert.deepEqual(await due(ledger, lane), { heads: [], sequences: 0, next: undefined });
      assert.deepEqual((await ledger.takeFence(lane, always)).parked, []);
    });

    it('stay if the transaction that removes them is rolled back', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 0n, executions: [claimOf('x', 0)] });
      await transaction.rollback();
      assert.deepEqual(await offsetsDue(ledger, lane), [0]);
    });

    it('leave with the ending of their record, also where its key was known with the same content', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      await work(ledger, { fence, appended: [letterOf('a', 1)], removed: [] });
      const letter = (offset: bigint) => ({ sequence: nameOf('a'), offset });
      const execution = claimOf('x', 0);
      await ledger.conclude(conclusionOf(fence, execution, { state: 'skipped', letter: letter(0n) }));
      assert.deepEqual(await offsetsDue(ledger, lane), [1]);
      const again = conclusionOf(fence, claimOf('x', 1), { state: 'dead', letter: letter(1n) });
      const other = conclusionOf(fence, claimOf('x', 1, 99n), { state: 'dead', letter: letter(1n) });
      assert.equal((await ledger.conclude(other))?.state, 'skipped');
      assert.deepEqual(await offsetsDue(ledger, lane), [1]);
      assert.equal((await ledger.conclude(again))?.state, 'skipped');
      assert.equal((await due(ledger, lane)).sequences, 0);
    });

    it('leave with the completion of a claim, unless it was lost', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      await ledger.parking.park(sequenceOf(fence, 'b', 1));
      const held = { fence, token: systemClock.uuid() };
      const [ours, lost] = [claimOf('x', 0), claimOf('y', 1)] as const;
      await ledger.claims.claim(held, [ours, lost], HOUR);
      await ledger.claims.release(held.token, [lost.key]);
      const removed = [
        { sequence: nameOf('a'), offset: 0n },
        { sequence: nameOf('b'), offset: 1n },
      ];
      const completed = [ours, lost].map((execution) => ({ execution, reply: undefined, outbox: [] }));
      const parking = { fence, appended: [letterOf('b', 2)], removed };
      const left = await ledger.claims.complete({ ...held, completed, nextOffset: 0n, parking });
      assert.deepEqual(left, [lost.key]);
      const { parked } = await ledger.takeFence(lane, always);
      assert.deepEqual(parked, [{ sequence: nameOf('b'), letters: 2 }]);
    });

    it('are due when their time has come, the longest first, and at most as many as are asked for', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0, { retryAfter: HOUR }));
      const { heads, sequences, next } = await due(ledger, lane);
      assert.deepEqual([heads.length, sequences], [0, 1]);
      assert.ok(next !== undefined && next > HOUR / 2 && next <= HOUR);
      await ledger.parking.park(sequenceOf(fence, 'b', 1));
      await ledger.parking.park(sequenceOf(fence, 'c', 2, { retryAfter: 20 }));
      await eventually('both heads are due', async () => (await due(ledger, lane)).heads.length === 2);
      assert.deepEqual(await offsetsDue(ledger, lane), [1, 2]);
      assert.equal((await due(ledger, lane, 1)).heads.length, 1);
    });

    it('wait longer after a failure that is counted once, and are held when nobody says until when', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      await ledger.parking.postpone(lane, postponementOf('a', 0, { failures: 4 }));
      await ledger.parking.postpone(lane, postponementOf('a', 0, { failures: 9 }));
      const [head] = await ledger.parking.list(lane.scope, 10, undefined);
      assert.deepEqual([head?.failures, head?.retries, head?.state], [4, 1, 'waiting']);
      assert.ok(head!.nextRetry! > systemClock.now() + HOUR / 2);
      await ledger.parking.postpone(
        lane,
        postponementOf('a', 0, { retries: 1, failures: 5, retryAfter: null }),
      );
      const [held] = await ledger.parking.list(lane.scope, 10, undefined);
      assert.deepEqual([held?.state, held?.nextRetry], ['held', undefined]);
      assert.deepEqual(await due(ledger, lane), { heads: [], sequences: 1, next: undefined });
    });

    it('are found by partition and group, also those of an earlier topic of the name', async () => {
      const { ledger, fence, lane } = await open();
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      const anew = newLane({ ...lane, topicId: systemClock.uuid() });
      const other = { topic: lane.topic, partition: 1 };
      const { group } = lane.scope;
      assert.deepEqual(await ledger.parking.partitionsOf(group, [other, anew]), [anew]);
      assert.deepEqual(await ledger.parking.partitionsOf('nobody', [other, anew]), []);
      assert.deepEqual((await ledger.takeFence(anew, always)).parked, []);
      const [head] = (await due(ledger, anew)).heads;
      assert.equal(head?.lane.topicId, lane.topicId);
    });

    it('outlive pruning, with the steps of a claim that is given up', async () => {
      const { ledger, fence, lane } = await open();
      const held = { fence, token: systemClock.uuid() };
      const execution = claimOf('x', 0);
      await ledger.claims.claim(held, [execution], 0);
      const step = { position: 0, name: 'charge', result: Buffer.from('r') };
      await ledger.steps.record({ scope: lane.scope, key: execution.key, step, token: held.token });
      await ledger.parking.park(sequenceOf(fence, 'a', 0));
      await ledger.care.prune({ keys: -1_000, messageIds: -1_000 }, 100);
      assert.equal((await ledger.steps.find(lane.scope, execution.key)).length, 1);
      assert.deepEqual(await offsetsDue(ledger, lane), [0]);
    });
  });
}
