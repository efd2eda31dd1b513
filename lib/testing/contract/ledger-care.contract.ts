import assert from 'node:assert/strict';
import type { Retention, SweepBounds } from '../../execution/ledger-care.js';
import type { Ledger, OutboxRecord } from '../../execution/ledger.js';
import { givenKey, positionKey } from '../../messages/idempotency-key.js';
import { deferred } from '../../runtime/deferred.js';
import { sleep, systemClock } from '../../runtime/clock.js';
import { eventually } from './eventually.js';
import {
  always,
  claimOf,
  conclusionOf,
  isPending,
  look,
  newLane,
  nothing,
  outboxOf,
  rejectsWith,
  run,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

const LONG = 3_600_000;
/** Milliseconds. Longer than what follows a sign of life takes to be asked, on a busy machine too. */
const SILENCE = 2_000;
const DUE: SweepBounds = { settled: 0, abandoned: LONG, silence: LONG, limit: 100 };
const given = (key: string) => givenKey('given', key, 'a test').encoded;
const messageId = () => givenKey('message-id', systemClock.uuid(), 'a test').encoded;

/** Sweeps until something was found; the store's clock has to move first. Resolves with what was handed over. */
async function sweep(ledger: Ledger, bounds: Partial<SweepBounds> = {}): Promise<OutboxRecord[]> {
  await sleep(systemClock, 5);
  const swept: OutboxRecord[] = [];
  await ledger.care.sweep({ ...DUE, ...bounds }, 0n, async (records) => {
    swept.push(...records);
    return records.map(({ id }) => id);
  });
  return swept;
}

async function pruneAll(ledger: Ledger, retention: Retention, limit = 100): Promise<number> {
  await sleep(systemClock, 5);
  let deleted = 0;
  for (let more = true; more;) {
    const result = await ledger.care.prune(retention, limit);
    deleted += result.deleted;
    more = result.more;
  }
  return deleted;
}

export function describeCare({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('transactions without a record', () => {
    it('commit what was written and leave their outbox records to a sweep', async () => {
      const ledger = await world().openLedger();
      const record = outboxOf({ headers: [['a', Buffer.from('b')]], partition: 3 });
      const transaction = ledger.transaction();
      await transaction.begin();
      await world().write(transaction.client, 'by hand');
      await transaction.commit({ ...nothing, outbox: [{ lane: null, record }] });
      assert.deepEqual(await world().written(), ['by hand']);
      assert.deepEqual(await sweep(ledger), [record]);
      assert.deepEqual(await sweep(ledger), []);
    });

    it('leave nothing when they are rolled back, or a statement of theirs failed', async () => {
      const ledger = await world().openLedger();
      const first = ledger.transaction();
      await first.begin();
      await world().write(first.client, 'no');
      await first.rollback();
      const second = ledger.transaction();
      await second.begin();
      await world().write(second.client, 'no');
      await assert.rejects(world().fail(second.client));
      const outbox = [{ lane: null, record: outboxOf() }];
      await rejectsWith(second.commit({ ...nothing, outbox }), 'KT_TRANSACTION_ABORTED');
      assert.deepEqual(await world().written(), []);
      assert.deepEqual(await sweep(ledger), []);
    });

    it('begin once', async () => {
      const ledger = await world().openLedger();
      const transaction = ledger.transaction();
      await transaction.begin();
      await rejectsWith(transaction.begin(), 'KT_WRONG_CALL_ORDER');
      await transaction.rollback();
    });
  });

  describe('sweeps', () => {
    const lose = async (ledger: Ledger, count = 1) => {
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      const records = Array.from({ length: count }, () => outboxOf());
      await run(ledger, fence, [], { outbox: records.map((record) => ({ lane, record })) }, 1n);
      return records;
    };

    it('leave the records of a living owner alone, until they are older than any owner would let them get', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const records = await lose(ledger);
      assert.deepEqual(await sweep(other), []);
      assert.deepEqual(await sweep(other, { abandoned: 1 }), records);
    });

    it('take the records of an owner that closed, or was not seen for long', async () => {
      const [ledger, silent, other] = [
        await world().openLedger(),
        await world().openLedger(),
        await world().openLedger(),
      ];
      const ofClosed = await lose(ledger, 2);
      await ledger.close();
      assert.deepEqual(await sweep(other), ofClosed);
      const ofSilent = await lose(silent);
      assert.deepEqual(await sweep(other, { silence: 1 }), ofSilent);
      assert.deepEqual(await sweep(other, { silence: 1 }), []);
    });

    it('take nobody for dead that gives signs of life', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      await lose(ledger);
      await sleep(systemClock, SILENCE + 100);
      await ledger.care.beat();
      assert.deepEqual(await sweep(other, { silence: SILENCE }), []);
    });

    it('leave young records alone', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      await lose(ledger);
      await ledger.close();
      assert.deepEqual(await sweep(other, { settled: LONG }), []);
    });

    it('go on batch by batch, and keep what could not be produced', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const records = await lose(ledger, 5);
      await ledger.close();
      await sleep(systemClock, 5);
      const bounds = { ...DUE, limit: 2 };
      const seen: OutboxRecord[] = [];
      let after: bigint | undefined = 0n;
      while (after !== undefined) {
        const { next } = await other.care.sweep(bounds, after, async (batch) => {
          seen.push(...batch);
          return batch.filter(({ id }) => id !== records[1]!.id).map(({ id }) => id);
        });
        after = next;
      }
      assert.deepEqual(seen, records);
      assert.deepEqual(await sweep(other), [records[1]]);
    });

    it('hand a record to one process at a time', async () => {
      const [ledger, first, second] = [
        await world().openLedger(),
        await world().openLedger(),
        await world().openLedger(),
      ];
      const records = await lose(ledger);
      await ledger.close();
      await sleep(systemClock, 5);
      const [began, go] = [deferred(), deferred()];
      const sweeping = first.care.sweep(DUE, 0n, async () => {
        began.resolve();
        await go.promise;
        return [];
      });
      await began.promise;
      assert.deepEqual(await sweep(second), []);
      go.resolve();
      await sweeping;
      assert.deepEqual(await sweep(second), records);
    });
  });

  describe('pruning', () => {
    it('deletes what is over its time by the kind of its key, and keeps the rest', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { scope } = fence.lane;
      const [ofPerson, ofMachine] = [claimOf(given('k'), 0), claimOf(messageId(), 1)];
      const position = positionKey(fence.lane.topicId, 0, 2n).encoded;
      const dead = claimOf(messageId(), 3);
      const replies = [ofPerson.key, ofMachine.key, position].map((key) => ({ scope, key, body: key }));
      await run(ledger, fence, [ofPerson, ofMachine], { replies }, 3n);
      await ledger.conclude(conclusionOf(fence, dead, { state: 'dead' }));
      const left = async () => ({
        keys: (await look(ledger, fence, [ofPerson, ofMachine, dead])).map(
          (verdict) => verdict !== 'claimed',
        ),
        replies: (
          await ledger.findReplies(
            scope,
            replies.map(({ key }) => key),
          )
        ).size,
      });

      assert.equal(await pruneAll(ledger, { keys: LONG, messageIds: LONG }), 0);
      assert.deepEqual(await left(), { keys: [true, true, true], replies: 3 });
      assert.equal(await pruneAll(ledger, { keys: LONG, messageIds: 1 }), 2);
      assert.deepEqual(await left(), { keys: [true, false, true], replies: 1 });
      assert.equal(await pruneAll(ledger, { keys: 1, messageIds: 1 }), 2);
      assert.deepEqual(await left(), { keys: [false, false, false], replies: 0 });
      assert.deepEqual(await ledger.reader.find([dead.key], {}), []);
    });

    it('deletes a position as soon as the fence has passed it, and keeps its reply', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { scope, topicId } = fence.lane;
      const at = (offset: number) => positionKey(topicId, 0, BigInt(offset)).encoded;
      const [passed, redriven, ahead] = [claimOf(at(2), 2), claimOf(at(0), 3), claimOf(at(4), 4)];
      const failed = claimOf(at(1), 1);
      await ledger.conclude(conclusionOf(fence, failed, { state: 'failed' }));
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: null, executions: [passed, redriven, ahead] });
      await transaction.commit({ ...nothing, replies: [{ scope, key: passed.key, body: passed.key }] });
      const left = async () =>
        (await look(ledger, fence, [failed, passed, redriven, ahead])).map(
          (verdict) => verdict !== 'claimed',
        );

      assert.equal(await pruneAll(ledger, { keys: LONG, messageIds: LONG }), 0);
      await ledger.moveFence(fence, 4n);
      assert.equal(await pruneAll(ledger, { keys: LONG, messageIds: LONG }), 1);
      // One that ran under another record's position is asked for by whoever has that record again.
      assert.deepEqual(await left(), [true, false, true, true]);
      assert.equal((await ledger.findReplies(scope, [passed.key])).size, 1);
      await pruneAll(ledger, { keys: LONG, messageIds: 1 });
      assert.deepEqual(await left(), [false, false, false, true]);
      assert.equal((await ledger.findReplies(scope, [passed.key])).size, 0);
    });

    it('never deletes an execution that the fence does not cover', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const [covered, ahead] = [claimOf(given('a'), 0), claimOf(given('b'), 5)];
      await run(ledger, fence, [covered, ahead], {}, 1n);
      assert.equal(await pruneAll(ledger, { keys: 1, messageIds: 1 }), 1);
      assert.notEqual((await look(ledger, fence, [ahead]))[0], 'claimed');
      assert.equal((await look(ledger, fence, [covered]))[0], 'claimed');
    });

    it('goes through a ledger of many batches, and begins anew', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const claims = Array.from({ length: 25 }, (_, n) => claimOf(messageId(), n));
      const kept = Array.from({ length: 25 }, (_, n) => claimOf(given(`${n}`), 25 + n));
      await run(ledger, fence, [...claims, ...kept], {}, 50n);
      assert.equal(await pruneAll(ledger, { keys: LONG, messageIds: 1 }, 4), 25);
      await eventually(
        'all is pruned',
        async () => (await pruneAll(ledger, { keys: LONG, messageIds: 1 }, 4)) === 0,
      );
      assert.equal((await look(ledger, fence, kept)).filter((verdict) => verdict === 'claimed').length, 0);
      await eventually(
        'the keys are old enough',
        async () => (await pruneAll(ledger, { keys: 1, messageIds: 1 }, 4)) > 0,
      );
    });

    it('leaves an execution alone that a transaction is taking over', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const { fence } = await ledger.takeFence(newLane(), always);
      const failed = claimOf(given('a'), 0);
      await ledger.conclude(conclusionOf(fence, failed, { state: 'failed' }));
      await sleep(systemClock, SILENCE + 100);
      const transaction = ledger.transaction();
      const again = claimOf(given('a'), 1);
      await transaction.claim({ fence, advanceTo: 2n, executions: [again] });
      await transaction.reclaim(fence, again);
      const pruning = pruneAll(other, { keys: SILENCE, messageIds: SILENCE });
      // It may wait for the transaction, or pass by.
      await isPending(pruning);
      await transaction.commit(nothing);
      await pruning;
      assert.notEqual((await look(ledger, fence, [again]))[0], 'claimed');
    });
  });
}
