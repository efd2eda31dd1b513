import assert from 'node:assert/strict';
import type { Conclusion, Fence, Ledger } from '../../execution/ledger.js';
import {
  always,
  claimOf,
  conclusionOf,
  isPending,
  knownOf,
  look,
  newLane,
  nothing,
  outboxOf,
  run,
  rejectsWith,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

const deadLetter: Conclusion['deadLetter'] = {
  reason: 'exhausted',
  timestamp: 1_700_000_000_123,
  key: null,
  value: Buffer.from([0, 1, 0xff]),
  headers: [
    ['same', null],
    ['same', Buffer.from('x')],
  ],
};

async function replyOf(ledger: Ledger, { lane }: Fence, key: string): Promise<string | undefined> {
  return (await ledger.findReplies(lane.scope, [Buffer.from(key)])).get(key)?.toString();
}

export function describeConclusions({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('conclusions', () => {
    for (const state of ['failed', 'dead', 'skipped'] as const) {
      it(`of an execution as ${state} store everything at once and move the fence past it`, async () => {
        const ledger = await world().openLedger();
        const { fence } = await ledger.takeFence(newLane(), always);
        const execution = claimOf('a', 41, -9n);
        const outbox = outboxOf();
        const conclusion = conclusionOf(fence, execution, {
          state,
          reply: Buffer.from('no'),
          deadLetter: state === 'dead' ? deadLetter : null,
          outbox,
          error: { name: 'Error', message: 'NUL \0, ünïcode, \u{1f980}' },
        });
        assert.equal(await ledger.conclude(conclusion), undefined);
        assert.deepEqual(await look(ledger, fence, [execution]), [knownOf(fence.lane, execution, state)]);
        assert.equal(await replyOf(ledger, fence, 'a'), 'no');
        const next = await ledger.takeFence(fence.lane, always);
        assert.equal(next.fence.nextOffset, 42n);
        assert.deepEqual(next.undispatched, [outbox]);
      });
    }

    it('under a superseded epoch store nothing', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { fence: newer } = await ledger.takeFence(fence.lane, always);
      const conclusion = conclusionOf(fence, claimOf('a'), { reply: Buffer.from('no'), outbox: outboxOf() });
      await rejectsWith(ledger.conclude(conclusion), 'KT_FENCED');
      assert.deepEqual(await look(ledger, newer, [claimOf('a')]), ['claimed']);
      assert.equal(await replyOf(ledger, fence, 'a'), undefined);
      const next = await ledger.takeFence(fence.lane, always);
      assert.equal(next.fence.nextOffset, 0n);
      assert.deepEqual(next.undispatched, []);
    });

    it('may be repeated at one position, and count once', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const outbox = outboxOf();
      const first = conclusionOf(fence, claimOf('a', 3), { state: 'dead', deadLetter, outbox });
      assert.equal(await ledger.conclude(first), undefined);
      assert.equal(await ledger.conclude(first), undefined);
      assert.equal(await ledger.conclude({ ...first, state: 'failed', outbox: outboxOf() }), undefined);
      assert.deepEqual(await look(ledger, fence, [claimOf('a')]), [
        knownOf(fence.lane, claimOf('a', 3), 'dead'),
      ]);
      assert.deepEqual((await ledger.takeFence(fence.lane, always)).undispatched, [outbox]);
    });

    it('of a key that ended elsewhere only move the fence, and tell', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      await run(ledger, fence, [claimOf('done', 1)], {}, 2n);
      await ledger.conclude(conclusionOf(fence, claimOf('dead', 2), { state: 'dead', deadLetter }));
      await ledger.conclude(conclusionOf(fence, claimOf('failed', 3), { reply: Buffer.from('first') }));
      const again = { reply: Buffer.from('no'), outbox: outboxOf() };
      for (const state of ['failed', 'dead', 'skipped'] as const) {
        assert.deepEqual(
          await ledger.conclude(conclusionOf(fence, claimOf('done', 10), { state, ...again })),
          knownOf(lane, claimOf('done', 1)),
        );
        assert.deepEqual(
          await ledger.conclude(conclusionOf(fence, claimOf('dead', 11), { state, ...again })),
          knownOf(lane, claimOf('dead', 2), 'dead'),
        );
      }
      for (const state of ['dead', 'skipped'] as const) {
        assert.deepEqual(
          await ledger.conclude(conclusionOf(fence, claimOf('failed', 12), { state, ...again })),
          knownOf(lane, claimOf('failed', 3), 'failed'),
        );
      }
      assert.equal(await replyOf(ledger, fence, 'done'), undefined);
      assert.equal(await replyOf(ledger, fence, 'failed'), 'first');
      const next = await ledger.takeFence(lane, always);
      assert.equal(next.fence.nextOffset, 13n);
      assert.deepEqual(next.undispatched, []);
    });

    it('of a key that ended elsewhere with another content do nothing, and tell', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [claimOf('a', 1, 1n)], {}, 2n);
      for (const state of ['failed', 'dead', 'skipped'] as const) {
        const other = conclusionOf(fence, claimOf('a', 5, 2n), {
          state,
          reply: Buffer.from('no'),
          outbox: outboxOf(),
        });
        assert.deepEqual(await ledger.conclude(other), knownOf(fence.lane, claimOf('a', 1, 1n)));
      }
      assert.equal(await replyOf(ledger, fence, 'a'), undefined);
      const next = await ledger.takeFence(fence.lane, always);
      assert.equal(next.fence.nextOffset, 2n);
      assert.deepEqual(next.undispatched, []);
    });

    it('as failed replace an earlier failure of a repeated request', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await ledger.conclude(conclusionOf(fence, claimOf('a', 1, 1n), { reply: Buffer.from('first') }));
      const second = conclusionOf(fence, claimOf('a', 5, 2n), { reply: Buffer.from('second') });
      assert.equal(await ledger.conclude(second), undefined);
      assert.equal(await replyOf(ledger, fence, 'a'), 'second');
      assert.deepEqual(await look(ledger, fence, [claimOf('a')]), [
        knownOf(fence.lane, claimOf('a', 5, 2n), 'failed'),
      ]);
    });

    it('never move the fence back', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [], {}, 100n);
      await ledger.conclude(conclusionOf(fence, claimOf('a', 5)));
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 100n);
    });

    it('wait for a twin that is running', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      const { fence: otherFence } = await other.takeFence({ ...lane, partition: 1 }, always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a', 0)] });
      const concluded = other.conclude(conclusionOf(otherFence, claimOf('a', 7)));
      assert.equal(await isPending(concluded), true);
      await transaction.commit(nothing);
      assert.deepEqual(await concluded, knownOf(lane, claimOf('a', 0)));
    });
  });

  describe('a failed execution', () => {
    async function failedOnce(): Promise<{ ledger: Ledger; fence: Fence }> {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await ledger.conclude(conclusionOf(fence, claimOf('a', 1, 1n), { reply: Buffer.from('no') }));
      return { ledger, fence };
    }
    const first = claimOf('a', 1, 1n);
    const second = claimOf('a', 5, 2n);
    const reply = (fence: Fence, body: string) => ({
      scope: fence.lane.scope,
      key: second.key,
      body: Buffer.from(body),
    });

    it('is taken over by a new request, whose reply replaces the error', async () => {
      const { ledger, fence } = await failedOnce();
      const transaction = ledger.transaction();
      const verdicts = await transaction.claim({ fence, advanceTo: 6n, executions: [second] });
      assert.deepEqual(verdicts, [knownOf(fence.lane, first, 'failed')]);
      await transaction.reclaim(fence, second);
      await world().write(transaction.client, 'effect');
      await transaction.commit({ ...nothing, replies: [reply(fence, 'yes')] });
      assert.deepEqual(await look(ledger, fence, [first]), [knownOf(fence.lane, second)]);
      assert.equal(await replyOf(ledger, fence, 'a'), 'yes');
      assert.deepEqual(await world().written(), ['effect']);
    });

    it('has no error reply left once a new request completed without any', async () => {
      const { ledger, fence } = await failedOnce();
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 6n, executions: [second] });
      await transaction.reclaim(fence, second);
      await transaction.commit(nothing);
      assert.equal(await replyOf(ledger, fence, 'a'), undefined);
    });

    it('stays as it was if the new request is rolled back or released', async () => {
      const { ledger, fence } = await failedOnce();
      for (const end of ['rollback', 'release'] as const) {
        const transaction = ledger.transaction();
        await transaction.claim({ fence, advanceTo: 6n, executions: [second] });
        await transaction.reclaim(fence, second);
        if (end === 'rollback') await transaction.rollback();
        else {
          const releases = [{ fence, keys: [second.key], nextOffset: 5n }];
          await transaction.commit({ ...nothing, releases });
        }
        assert.deepEqual(await look(ledger, fence, [second]), [knownOf(fence.lane, first, 'failed')]);
        assert.equal(await replyOf(ledger, fence, 'a'), 'no');
      }
    });

    it('is taken over by one of two', async () => {
      const { ledger, fence } = await failedOnce();
      const other = await world().openLedger();
      const { fence: otherFence } = await other.takeFence({ ...fence.lane, partition: 1 }, always);
      const [transaction, twin] = [ledger.transaction(), other.transaction()];
      await transaction.claim({ fence, advanceTo: 6n, executions: [second] });
      await twin.claim({ fence: otherFence, advanceTo: 6n, executions: [second] });
      await transaction.reclaim(fence, second);
      const late = twin.reclaim(otherFence, second);
      assert.equal(await isPending(late), true);
      await Promise.all([rejectsWith(late, 'KT_IN_WORK'), transaction.commit(nothing)]);
      await twin.rollback();
      assert.deepEqual(await look(other, otherFence, [second]), [knownOf(fence.lane, second)]);
    });

    it('is taken over inside a transaction only', async () => {
      const { ledger, fence } = await failedOnce();
      await rejectsWith(ledger.transaction().reclaim(fence, second), 'KT_WRONG_CALL_ORDER');
    });
  });
}
