import assert from 'node:assert/strict';
import type { FailureNote } from '../../execution/ledger-failures.js';
import { always, newLane, type ContractRunner, type CurrentWorld } from './ledger-contract-world.js';

const noteOf = (offset: number, failures: number): FailureNote => ({
  offset: BigInt(offset),
  failures,
  error: { name: 'TypeError', message: 'no such account' },
});

/** Failures of records that are tried again. */
export function describeFailures({ describe, it }: ContractRunner, current: CurrentWorld): void {
  describe('failures that are tried again', () => {
    it('are known to the next owner of the lane, and to no other lane', async () => {
      const [first, second] = [await current().openLedger(), await current().openLedger()];
      const lane = newLane();
      const { fence } = await first.takeFence(lane, always);
      assert.deepEqual(await first.failures.find(fence, 0n), []);
      await first.failures.note(fence, noteOf(3, 1));
      await first.failures.note(fence, noteOf(3, 2));
      await first.failures.note(fence, noteOf(5, 1));
      const taken = (await second.takeFence(lane, always)).fence;
      const found = await second.failures.find(taken, 0n);
      const sorted = found.sort((left, right) => Number(left.offset - right.offset));
      assert.deepEqual(
        sorted.map(({ offset, failures }) => [offset, failures]),
        [
          [3n, 2],
          [5n, 1],
        ],
      );
      assert.ok(sorted.every(({ age }) => age >= 0 && age < 60_000));
      const other = newLane({ topicId: lane.topicId, topic: lane.topic, partition: 1 });
      const { fence: elsewhere } = await second.takeFence(other, always);
      assert.deepEqual(await second.failures.find(elsewhere, 0n), []);
    });

    it('never become fewer', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await ledger.failures.note(fence, noteOf(0, 4));
      await ledger.failures.note(fence, noteOf(0, 1));
      assert.equal((await ledger.failures.find(fence, 0n))[0]!.failures, 4);
    });

    it('are not counted for an owner whose epoch was superseded', async () => {
      const ledger = await current().openLedger();
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      const { fence: newer } = await ledger.takeFence(lane, always);
      await ledger.failures.note(fence, noteOf(0, 1));
      assert.deepEqual(await ledger.failures.find(newer, 0n), []);
    });

    it('are forgotten when the record has ended, or is below where the lane goes on', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      for (const offset of [0, 1, 2]) await ledger.failures.note(fence, noteOf(offset, 1));
      await ledger.failures.forget(fence.lane, [1n]);
      assert.deepEqual(
        (await ledger.failures.find(fence, 1n)).map(({ offset }) => offset),
        [2n],
      );
      assert.equal((await ledger.failures.find(fence, 0n)).length, 1);
    });
  });
}
