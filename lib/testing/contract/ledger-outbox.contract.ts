import assert from 'node:assert/strict';
import { systemClock } from '../../runtime/clock.js';
import { eventually } from './eventually.js';
import {
  always,
  claimOf,
  conclusionOf,
  newLane,
  outboxOf,
  run,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

export function describeOutbox({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('the outbox', () => {
    it('is handed to the lane’s next owner, in order and unchanged', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      const first = [
        outboxOf({ key: null, value: null, partition: 7 }),
        outboxOf({ key: Buffer.alloc(0), value: Buffer.alloc(0), topic: 'a "quoted\\" {topic}' }),
        outboxOf({
          value: Buffer.from([0, 0xff, 0x5c]),
          headers: [
            ['same', Buffer.from([0xff, 0x00])],
            ['same', null],
            ['', Buffer.alloc(0)],
            ['ümlaut', Buffer.alloc(300, 1)],
          ],
        }),
      ];
      const second = [outboxOf({ value: Buffer.alloc(200_000, 3) })];
      const third = outboxOf();
      await run(ledger, fence, [], { outbox: first.map((record) => ({ lane, record })) }, 1n);
      await run(ledger, fence, [], { outbox: second.map((record) => ({ lane, record })) }, 2n);
      await ledger.conclude(conclusionOf(fence, claimOf('a', 2), { outbox: third }));
      const { undispatched } = await other.takeFence(lane, always);
      assert.deepEqual(undispatched, [...first, ...second, third]);
    });

    it('is handed to nobody else', async () => {
      const ledger = await world().openLedger();
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      await run(ledger, fence, [], { outbox: [{ lane, record: outboxOf() }] }, 1n);
      const others = [
        { ...lane, partition: 1 },
        { ...lane, topic: `${lane.topic}-other`, topicId: systemClock.uuid() },
        { ...lane, scope: { ...lane.scope, handler: 'other' } },
      ];
      for (const other of others) {
        assert.deepEqual((await ledger.takeFence(other, always)).undispatched, []);
      }
    });

    it('outlives its topic: whoever owns the one made anew gets it', async () => {
      const ledger = await world().openLedger();
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      const record = outboxOf();
      await run(ledger, fence, [], { outbox: [{ lane, record }] }, 1n);
      const { undispatched } = await ledger.takeFence({ ...lane, topicId: systemClock.uuid() }, always);
      assert.deepEqual(undispatched, [record]);
    });

    it('holds nothing of a transaction that was rolled back', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 1n, executions: [] });
      await assert.rejects(world().fail(transaction.client));
      await assert.rejects(
        transaction.commit({ releases: [], replies: [], outbox: [{ lane, record: outboxOf() }] }),
      );
      assert.deepEqual((await ledger.takeFence(lane, always)).undispatched, []);
    });

    it('forgets what was dispatched, at once for whoever dispatched it', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      const records = [outboxOf(), outboxOf(), outboxOf()];
      await run(ledger, fence, [], { outbox: records.map((record) => ({ lane, record })) }, 1n);
      ledger.markDispatched([records[0]!.id, records[2]!.id]);
      ledger.markDispatched([systemClock.uuid()]);
      assert.deepEqual((await ledger.takeFence(lane, always)).undispatched, [records[1]]);
      await eventually(
        'others see it',
        async () => (await other.takeFence(lane, always)).undispatched.length === 1,
      );
      assert.deepEqual((await other.takeFence(lane, always)).undispatched, [records[1]]);
    });

    it('has forgotten what was dispatched before a ledger closed', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      const records = Array.from({ length: 1_500 }, () => outboxOf());
      await run(ledger, fence, [], { outbox: records.map((record) => ({ lane, record })) }, 1n);
      ledger.markDispatched(records.map(({ id }) => id));
      await ledger.close();
      await ledger.close();
      assert.deepEqual((await other.takeFence(lane, always)).undispatched, []);
    });
  });
}
