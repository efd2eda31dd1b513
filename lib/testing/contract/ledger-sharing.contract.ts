import assert from 'node:assert/strict';
import type { ExecutionClaim, Fence, GroupWork, Ledger } from '../../execution/ledger.js';
import { positionKey } from '../../messages/idempotency-key.js';
import { systemClock } from '../../runtime/clock.js';
import {
  always,
  claimOf,
  conclusionOf,
  isPending,
  knownOf,
  newLane,
  nothing,
  outboxOf,
  rejectsWith,
  run,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

/** Waiting for a stopped owner takes five seconds of real time. */
const PATIENT = 100_000;

export function describeSharing({ describe, it }: ContractRunner, world: CurrentWorld): void {
  const positionOf = ({ lane: { topicId, partition } }: Fence, offset: bigint): ExecutionClaim =>
    claimOf(positionKey(topicId, partition, offset).encoded, offset);

  const runShared = async (
    ledger: Ledger,
    fence: Fence,
    executions: readonly ExecutionClaim[],
    work: Partial<GroupWork> = {},
  ) => {
    const transaction = ledger.transaction();
    try {
      const verdicts = await transaction.claim({ fence, advanceTo: null, executions });
      await transaction.commit({ ...nothing, ...work });
      return verdicts;
    } finally {
      await transaction.rollback();
    }
  };

  describe('shared lanes', () => {
    it('have several transactions at once, which leave the fence where it is', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const [first, second] = [ledger.transaction(), ledger.transaction()];
      assert.deepEqual(await first.claim({ fence, advanceTo: null, executions: [claimOf('a', 7)] }), [
        'claimed',
      ]);
      assert.deepEqual(await second.claim({ fence, advanceTo: null, executions: [claimOf('b', 3)] }), [
        'claimed',
      ]);
      await world().write(second.client, 'b');
      await second.commit(nothing);
      await world().write(first.client, 'a');
      await first.commit(nothing);
      assert.deepEqual((await world().written()).sort(), ['a', 'b']);
      const known = [claimOf('a', 7), claimOf('b', 3)];
      assert.deepEqual(
        await runShared(ledger, fence, known),
        known.map((claim) => knownOf(fence.lane, claim)),
      );
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 0n);
    });

    it('keep their fence from being taken until every transaction has ended', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const [first, second] = [ledger.transaction(), ledger.transaction()];
      await first.claim({ fence, advanceTo: null, executions: [claimOf('a', 0)] });
      await second.claim({ fence, advanceTo: null, executions: [claimOf('b', 1)] });
      const taken = other.takeFence(fence.lane, always);
      assert.equal(await isPending(taken), true);
      await first.commit(nothing);
      assert.equal(await isPending(taken), true);
      await second.rollback();
      const { fence: newer } = await taken;
      assert.deepEqual(await runShared(other, newer, [claimOf('a', 0), claimOf('b', 1)]), [
        knownOf(fence.lane, claimOf('a', 0)),
        'claimed',
      ]);
    });

    it('are shared by a transaction that began in them without a claim', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const [within, without] = [ledger.transaction(), ledger.transaction()];
      await within.begin(fence.lane);
      await without.begin();
      const taken = other.takeFence(fence.lane, always);
      assert.equal(await isPending(taken), true);
      await world().write(within.client, 'a');
      await within.commit(nothing);
      await taken;
      await without.commit(nothing);
      assert.deepEqual(await world().written(), ['a']);
    });

    it('let nothing in behind whoever waits for the fence, and nothing of a superseded owner', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const open = ledger.transaction();
      await open.claim({ fence, advanceTo: null, executions: [claimOf('a', 0)] });
      const taken = other.takeFence(fence.lane, always);
      assert.equal(await isPending(taken), true);
      const late = ledger.transaction();
      const claimed = late.claim({ fence, advanceTo: null, executions: [claimOf('b', 1)] });
      const refused = rejectsWith(claimed, 'KT_FENCED');
      assert.equal(await isPending(claimed), true);
      await open.commit(nothing);
      await Promise.all([taken, refused]);
      await late.rollback();
      await rejectsWith(runShared(ledger, fence, [claimOf('c', 2)]), 'KT_FENCED');
      const conclusion = conclusionOf(fence, claimOf('c', 2), { isShared: true });
      await rejectsWith(ledger.conclude(conclusion), 'KT_FENCED');
      await rejectsWith(ledger.moveFence(fence, 9n), 'KT_FENCED');
      const { fence: newer } = await taken;
      assert.deepEqual(await runShared(other, newer, [claimOf('b', 1), claimOf('c', 2)]), [
        'claimed',
        'claimed',
      ]);
      assert.equal((await other.takeFence(fence.lane, always)).fence.nextOffset, 0n);
    });

    it(
      'are taken from a stopped owner after five seconds, by a confirmed member',
      async () => {
        const [ledger, other] = [await world().openLedger(), await world().openLedger()];
        const { fence } = await ledger.takeFence(newLane(), always);
        const stopped = [ledger.transaction(), ledger.transaction()];
        for (const [index, transaction] of stopped.entries()) {
          await transaction.claim({ fence, advanceTo: null, executions: [claimOf(`${index}`, index)] });
          await world().write(transaction.client, 'zombie');
        }
        const started = systemClock.monotonic();
        await other.takeFence(fence.lane, always);
        assert.equal(systemClock.monotonic() - started > 4_500, true);
        for (const transaction of stopped)
          await rejectsWith(transaction.commit(nothing), 'KT_LEDGER_UNREACHABLE');
        assert.deepEqual(await world().written(), []);
      },
      PATIENT,
    );

    it('have a second transaction wait for a key that the first has claimed', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const first = ledger.transaction();
      await first.claim({ fence, advanceTo: null, executions: [claimOf('a', 0)] });
      const twin = runShared(ledger, fence, [claimOf('a', 5)]);
      assert.equal(await isPending(twin), true);
      await first.commit(nothing);
      assert.deepEqual(await twin, [knownOf(fence.lane, claimOf('a', 0))]);
    });

    it('give released claims back, and leave the fence alone', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const executions = [claimOf('a', 4), claimOf('b', 5)];
      const releases = [{ fence, keys: [Buffer.from('b')], nextOffset: null }];
      await runShared(ledger, fence, executions, { releases });
      assert.deepEqual(await runShared(ledger, fence, executions), [
        knownOf(fence.lane, executions[0]!),
        'claimed',
      ]);
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 0n);
    });

    it('have endings written, and the fence left where it is', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const execution = claimOf('a', 41);
      const conclusion = conclusionOf(fence, execution, { isShared: true, outbox: outboxOf() });
      assert.equal(await ledger.conclude(conclusion), undefined);
      assert.deepEqual(await ledger.findExecution(fence.lane.scope, execution.key), {
        ...knownOf(fence.lane, execution, 'failed'),
      });
      const next = await ledger.takeFence(fence.lane, always);
      assert.equal(next.fence.nextOffset, 0n);
      assert.equal(next.undispatched.length, 1);
    });

    it('have their fence moved while transactions are open, and never back', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const open = ledger.transaction();
      await open.claim({ fence, advanceTo: null, executions: [claimOf('a', 12)] });
      await ledger.moveFence(fence, 12n);
      await ledger.moveFence(fence, 5n);
      await open.commit(nothing);
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 12n);
    });

    it('tell their next owner up to where positions have rows', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      assert.equal(fence.rowsBelow, 0n);
      const neighbour = await ledger.takeFence({ ...fence.lane, partition: 1 }, always);
      await runShared(ledger, neighbour.fence, [positionOf(neighbour.fence, 99n)]);
      await runShared(ledger, fence, [positionOf(fence, 8n), positionOf(fence, 300n), claimOf('p', 1_000)]);
      await ledger.moveFence(fence, 3n);
      const { fence: next } = await ledger.takeFence(fence.lane, always);
      assert.equal(next.nextOffset, 3n);
      assert.equal(next.rowsBelow, 301n);
      assert.deepEqual(await run(ledger, next, [positionOf(next, 8n), positionOf(next, 9n)], {}, 400n), [
        knownOf(fence.lane, positionOf(fence, 8n)),
        'claimed',
      ]);
      const { fence: last } = await ledger.takeFence(fence.lane, always);
      assert.equal(last.nextOffset, 400n);
      assert.equal(last.rowsBelow, 400n);
    });

    it('find executions by their key, once they are committed', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { scope } = fence.lane;
      const execution = claimOf('a', 3);
      const open = ledger.transaction();
      await open.claim({ fence, advanceTo: null, executions: [execution] });
      assert.equal(await ledger.findExecution(scope, execution.key), undefined);
      await open.commit(nothing);
      assert.deepEqual(await ledger.findExecution(scope, execution.key), knownOf(fence.lane, execution));
      assert.equal(await ledger.findExecution({ ...scope, handler: 'other' }, execution.key), undefined);
    });
  });
}
