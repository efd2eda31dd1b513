import assert from 'node:assert/strict';
import { systemClock } from '../../runtime/clock.js';
import {
  always,
  claimOf,
  isPending,
  knownOf,
  look,
  newLane,
  nothing,
  run,
  rejectsWith,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

/** Waiting for a stopped owner takes five seconds of real time. */
const PATIENT = 100_000;

export function describeFences({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('fences', () => {
    it('start at offset 0 and hand on where they stand', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence, undispatched } = await ledger.takeFence(newLane(), always);
      assert.equal(fence.nextOffset, 0n);
      assert.deepEqual(undispatched, []);
      await run(ledger, fence, [], {}, 2n ** 40n);
      const next = await other.takeFence(fence.lane, always);
      assert.equal(next.fence.nextOffset, 2n ** 40n);
      assert.equal(next.fence.epoch > fence.epoch, true);
      assert.deepEqual(next.fence.lane, fence.lane);
    });

    it('keep a superseded owner from storing anything', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const { fence: newer } = await other.takeFence(fence.lane, always);
      const transaction = ledger.transaction();
      await rejectsWith(transaction.claim({ fence, advanceTo: 5n, executions: [claimOf('a')] }), 'KT_FENCED');
      await assert.rejects(world().write(transaction.client, 'zombie'));
      await transaction.rollback();
      await rejectsWith(run(ledger, fence, [], {}, 5n), 'KT_FENCED');
      assert.deepEqual(await world().written(), []);
      assert.deepEqual(await look(other, newer, [claimOf('a')]), ['claimed']);
      assert.equal((await other.takeFence(fence.lane, always)).fence.nextOffset, 0n);
    });

    it('undo other lanes of a transaction that is superseded in one', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      const { fence: lost } = await ledger.takeFence({ ...lane, partition: 1 }, always);
      await other.takeFence(lost.lane, always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 5n, executions: [claimOf('a')] });
      await rejectsWith(
        transaction.claim({ fence: lost, advanceTo: 5n, executions: [claimOf('b')] }),
        'KT_FENCED',
      );
      assert.deepEqual(await look(ledger, fence, [claimOf('a')]), ['claimed']);
      assert.equal((await ledger.takeFence(lane, always)).fence.nextOffset, 0n);
    });

    it('never go back', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [], {}, 8n);
      await run(ledger, fence, [claimOf('a', 2)], {}, 3n);
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 8n);
    });

    it('are apart for partitions, handlers, groups and topics made anew', async () => {
      const ledger = await world().openLedger();
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      await run(ledger, fence, [], {}, 8n);
      const others = [
        { ...lane, partition: 1 },
        { ...lane, topicId: systemClock.uuid() },
        { ...lane, scope: { ...lane.scope, handler: 'other' } },
        { ...lane, scope: { ...lane.scope, group: `${lane.scope.group}-other` } },
      ];
      for (const other of others) {
        assert.equal((await ledger.takeFence(other, always)).fence.nextOffset, 0n);
      }
      await run(ledger, fence, [], {}, 9n);
    });

    it('give every taker its own epoch, of which one counts', async () => {
      const ledgers = [await world().openLedger(), await world().openLedger()];
      const lane = newLane();
      const taken = await Promise.all(
        Array.from({ length: 10 }, (_, index) => ledgers[index % 2]!.takeFence(lane, always)),
      );
      assert.equal(new Set(taken.map(({ fence }) => fence.epoch)).size, 10);
      const outcomes = await Promise.allSettled(
        taken.map(({ fence }, index) => run(ledgers[index % 2]!, fence, [], {}, 1n)),
      );
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    });

    it('wait for the previous owner’s open transaction', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 5n, executions: [claimOf('a')] });
      const taken = other.takeFence(fence.lane, always);
      assert.equal(await isPending(taken), true);
      await transaction.commit(nothing);
      const { fence: newer } = await taken;
      assert.equal(newer.nextOffset, 5n);
      assert.deepEqual(await look(other, newer, [claimOf('a')]), [knownOf(fence.lane, claimOf('a'))]);
    });

    it(
      'are taken from a stopped owner after five seconds, by a confirmed member',
      async () => {
        const [ledger, other] = [await world().openLedger(), await world().openLedger()];
        const { fence } = await ledger.takeFence(newLane(), always);
        const stopped = ledger.transaction();
        await stopped.claim({ fence, advanceTo: 5n, executions: [claimOf('a')] });
        await world().write(stopped.client, 'zombie');
        let asked = 0;
        const started = systemClock.monotonic();
        const { fence: newer } = await other.takeFence(fence.lane, () => Promise.resolve(++asked > 0));
        assert.equal(asked, 1);
        assert.equal(systemClock.monotonic() - started > 4_500, true);
        assert.equal(newer.nextOffset, 0n);
        await rejectsWith(stopped.commit(nothing), 'KT_LEDGER_UNREACHABLE');
        assert.equal(stopped.broken, true);
        assert.deepEqual(await world().written(), []);
        // Whoever was stopped can go on.
        await rejectsWith(run(ledger, fence, [claimOf('a')]), 'KT_FENCED');
        assert.deepEqual(await look(other, newer, [claimOf('a')]), ['claimed']);
      },
      PATIENT,
    );

    it(
      'are left to their owner while the taker is not confirmed',
      async () => {
        const [ledger, other] = [await world().openLedger(), await world().openLedger()];
        const { fence } = await ledger.takeFence(newLane(), always);
        const slow = ledger.transaction();
        await slow.claim({ fence, advanceTo: 5n, executions: [claimOf('a')] });
        let notConfirmed!: () => void;
        const asked = new Promise<void>((resolve) => (notConfirmed = resolve));
        const taken = other.takeFence(fence.lane, () => {
          notConfirmed();
          return Promise.resolve(false);
        });
        await asked;
        assert.equal(await isPending(taken), true);
        await world().write(slow.client, 'effect');
        await slow.commit(nothing);
        assert.equal((await taken).fence.nextOffset, 5n);
        assert.deepEqual(await world().written(), ['effect']);
      },
      PATIENT,
    );
  });
}
