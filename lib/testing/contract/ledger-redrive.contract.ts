import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Fence, Lane, Ledger } from '../../execution/ledger.js';
import type { DeadExecution, FoundLetter } from '../../execution/ledger-redrive.js';
import {
  always,
  claimOf,
  conclusionOf,
  look,
  newLane,
  outboxOf,
  rejectsWith,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

const letter = {
  reason: 'exhausted',
  timestamp: 5,
  key: Buffer.from('customer'),
  value: Buffer.from([0, 255]),
  headers: [['h', Buffer.from('v')]] as const,
};

/** Dead executions that are put back. */
export function describeRedrive({ describe, it }: ContractRunner, current: CurrentWorld): void {
  const die = (ledger: Ledger, fence: Fence, key: string, offset: number, overrides = {}) =>
    ledger.conclude(
      conclusionOf(fence, claimOf(key, offset), { state: 'dead', deadLetter: { ...letter, ...overrides } }),
    );
  const back = (dead: DeadExecution) =>
    outboxOf({ topic: dead.topic, key: dead.recordKey, value: dead.value });

  describe('dead executions that are redriven', () => {
    it('give their keys back together with the record that carries them', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await die(ledger, fence, 'gone', 3);
      const { group, handler } = fence.lane.scope;
      assert.deepEqual(await ledger.redrives.count({ group }), [
        { group, handler, topic: fence.lane.topic, reason: 'exhausted', errorClass: 'TypeError', records: 1 },
      ]);
      const result = await ledger.redrives.redrive({ group }, 10, undefined, back);
      assert.equal(result.left, 0);
      assert.equal(result.next, undefined);
      const [{ dead, record }] = result.redriven as [(typeof result.redriven)[0]];
      const { scope, topic, topicId, partition } = fence.lane;
      assert.deepEqual(dead, {
        scope,
        key: Buffer.from('gone'),
        topic,
        topicId,
        partition,
        offset: 3n,
        recordKey: letter.key,
        value: letter.value,
        headers: [['h', Buffer.from('v')]],
      });
      assert.deepEqual(await look(ledger, fence, [claimOf('gone', 9)]), ['claimed']);
      assert.deepEqual(await ledger.redrives.count({ group }), []);
      const { oldest } = await ledger.reader.outboxLag();
      assert.equal(oldest?.id, record.id);
    });

    it('are chosen by what is known of them', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { group, handler } = fence.lane.scope;
      await die(ledger, fence, 'a', 0);
      await die(ledger, fence, 'b', 1, { reason: 'terminal' });
      const counted = async (filter: object) =>
        (await ledger.redrives.count({ group, ...filter })).reduce((sum, { records }) => sum + records, 0);
      assert.equal(await counted({}), 2);
      assert.equal(await counted({ handler, topic: fence.lane.topic, errorClass: 'TypeError' }), 2);
      assert.equal(await counted({ reason: 'terminal' }), 1);
      assert.equal(await counted({ keys: [Buffer.from('a'), Buffer.from('x')] }), 1);
      assert.equal(await counted({ since: 0, until: 1 }), 0);
      for (const filter of [
        { handler: 'x' },
        { topic: 'x' },
        { reason: 'x' },
        { errorClass: 'x' },
        { keys: [] },
      ]) {
        assert.equal(await counted(filter), 0, JSON.stringify(filter));
      }
      const result = await ledger.redrives.redrive({ group, reason: 'terminal' }, 10, undefined, back);
      assert.deepEqual(
        result.redriven.map(({ dead }) => dead.key.toString()),
        ['b'],
      );
    });

    it('are gone through page by page, oldest first, and stay where no record is given', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { group } = fence.lane.scope;
      for (const [offset, key] of ['a', 'b', 'c'].entries()) await die(ledger, fence, key, offset);
      const seen: string[] = [];
      const none = (dead: DeadExecution) => void seen.push(dead.key.toString());
      const first = await ledger.redrives.redrive({ group }, 2, undefined, none);
      assert.deepEqual([first.redriven.length, first.left], [0, 2]);
      const second = await ledger.redrives.redrive({ group }, 2, first.next, none);
      assert.deepEqual([second.left, second.next], [1, undefined]);
      assert.deepEqual(seen, ['a', 'b', 'c']);
      assert.equal((await ledger.redrives.count({ group }))[0]!.records, 3);
      await rejectsWith(ledger.redrives.redrive({ group }, 2, 'elsewhere', none), 'KT_WRONG_CALL_ORDER');
    });

    it('are left alone if they are anything but dead', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { group } = fence.lane.scope;
      await ledger.conclude(conclusionOf(fence, claimOf('skipped', 0), { state: 'skipped' }));
      await ledger.conclude(conclusionOf(fence, claimOf('failed', 1), { state: 'failed' }));
      assert.equal((await ledger.redrives.redrive({ group }, 10, undefined, back)).redriven.length, 0);
    });
  });

  const found = ({ scope, topic, partition }: Lane, offset: number, key?: string): FoundLetter => ({
    scope,
    key: key === undefined ? undefined : Buffer.from(key),
    topic,
    partition,
    offset: BigInt(offset),
    timestamp: letter.timestamp,
    record: outboxOf({ topic, key: letter.key, value: letter.value }),
  });

  describe('dead letters of a topic', () => {
    it('take the execution that they are about back, whatever its key, once', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      await die(ledger, fence, 'gone', 3);
      const one = found(lane, 3);
      assert.deepEqual(await ledger.redrives.redriveLetters([one], true), ['redriven']);
      assert.equal((await ledger.redrives.count(lane.scope)).length, 1);
      // A letter that was produced twice.
      const twice = [one, found(lane, 3)];
      assert.deepEqual(await ledger.redrives.redriveLetters(twice, false), ['redriven', 'done']);
      assert.deepEqual(await ledger.redrives.count(lane.scope), []);
      const { oldest, records } = await ledger.reader.outboxLag();
      assert.deepEqual([oldest?.id, records], [one.record.id, 1]);
      assert.deepEqual(await look(ledger, fence, [claimOf('gone', 9)]), ['claimed']);
      assert.deepEqual(await ledger.redrives.redriveLetters([found(lane, 3)], false), ['done']);
    });

    it('are done with if the ledger redrove their executions', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await die(ledger, fence, 'gone', 3);
      await ledger.redrives.redrive(fence.lane.scope, 10, undefined, back);
      assert.deepEqual(await ledger.redrives.redriveLetters([found(fence.lane, 3, 'gone')], false), ['done']);
    });

    it('are redriven once where the ledger knows nothing of them, also by two at a time', async () => {
      const ledger = await current().openLedger();
      const other = await current().openLedger();
      const lane = newLane();
      const letters = () => [found(lane, 0), found(lane, 1), found(lane, 0)];
      assert.deepEqual(await ledger.redrives.redriveLetters(letters(), true), [
        'redriven',
        'redriven',
        'done',
      ]);
      const [one, two] = await Promise.all([
        ledger.redrives.redriveLetters(letters(), false),
        other.redrives.redriveLetters(letters(), false),
      ]);
      const redriven = [...one, ...two].filter((verdict) => verdict === 'redriven');
      assert.equal(redriven.length, 2);
      assert.equal((await ledger.reader.outboxLag()).records, 2);
      // A topic of that name that was made anew: another record.
      const later = { ...found(lane, 0), timestamp: 6 };
      assert.deepEqual(await ledger.redrives.redriveLetters([later], false), ['redriven']);
    });

    it('are done with if their message has been dealt with since, and early while it is in work', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      await ledger.conclude(conclusionOf(fence, claimOf('skipped', 4), { state: 'skipped' }));
      await die(ledger, fence, 'again', 5);
      await ledger.claims.claim({ fence, token: randomUUID() }, [claimOf('busy', 6)], 60_000);
      const letters = [found(lane, 1, 'skipped'), found(lane, 2, 'again'), found(lane, 3, 'busy')];
      assert.deepEqual(await ledger.redrives.redriveLetters(letters, false), ['done', 'done', 'early']);
      assert.equal((await ledger.redrives.count(lane.scope))[0]!.records, 1);
    });

    it('are early while their position may still come back', async () => {
      const ledger = await current().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await ledger.conclude({
        ...conclusionOf(fence, claimOf('a', 3), { state: 'dead', deadLetter: letter }),
        isShared: true,
      });
      assert.deepEqual(await ledger.redrives.redriveLetters([found(fence.lane, 3)], false), ['early']);
      await ledger.moveFence(fence, 4n);
      assert.deepEqual(await ledger.redrives.redriveLetters([found(fence.lane, 3)], false), ['redriven']);
    });
  });
}
