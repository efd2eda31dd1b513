import assert from 'node:assert/strict';
import type { LedgerExecution } from '../../execution/ledger-reader.js';
import { encodedForms, givenKey, positionKey } from '../../messages/idempotency-key.js';
import type { ExecutionState } from '../../execution/ledger-terms.js';
import { systemClock } from '../../runtime/clock.js';
import { LONG, under } from './claims-kit.js';
import {
  always,
  claimOf,
  conclusionOf,
  newLane,
  outboxOf,
  rejectsWith,
  run,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

const given = (key: string) => givenKey('given', key, 'a test').encoded;
const keysOf = (executions: readonly LedgerExecution[]) => executions.map(({ key }) => key);

export function describeReader({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('readers', () => {
    it('find executions by key, in every scope or a named one', async () => {
      const ledger = await world().openLedger();
      const lane = newLane();
      const { group } = lane.scope;
      const scopes = ['A.a', 'B.b'].map((handler) => ({ group, handler }));
      const began = systemClock.now();
      for (const scope of scopes) {
        const { fence } = await ledger.takeFence({ ...lane, scope }, always);
        await run(ledger, fence, [claimOf(given('k'), 3), claimOf(given('other'), 4)], {}, 5n);
      }
      const found = await ledger.reader.find(encodedForms('k'), {});
      assert.deepEqual(
        found.map(({ finishedAt, ...execution }) => {
          // Minutes: the store's clock need not be ours.
          assert.ok(Math.abs(finishedAt - began) < 600_000, `finished at ${finishedAt}`);
          return execution;
        }),
        scopes.map((scope) => ({
          ...scope,
          key: 'k',
          state: 'completed',
          attempts: 1,
          error: null,
          reason: null,
          topic: lane.topic,
          topicId: lane.topicId,
          partition: 0,
          offset: 3n,
        })),
      );
      const one = await ledger.reader.find(encodedForms('k'), { handler: 'B.b' });
      assert.deepEqual(
        one.map(({ handler }) => handler),
        ['B.b'],
      );
      assert.deepEqual(await ledger.reader.find(encodedForms('k'), { group: 'nobody' }), []);
      assert.deepEqual(await ledger.reader.find(encodedForms('never used'), {}), []);
    });

    it('find message ids, positions and what died of them, with the reason', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const id = systemClock.uuid();
      const position = positionKey(fence.lane.topicId, 0, 8n).encoded;
      await run(ledger, fence, [claimOf(givenKey('message-id', id, 'a test').encoded, 7)], {}, 8n);
      await ledger.conclude(
        conclusionOf(fence, claimOf(position, 8), {
          state: 'dead',
          deadLetter: { reason: 'exhausted', timestamp: 1, key: null, value: null, headers: [] },
        }),
      );
      assert.equal((await ledger.reader.find(encodedForms(id), {}))[0]!.offset, 7n);
      const [dead] = await ledger.reader.find(encodedForms(`${fence.lane.topicId}/0/8`), {});
      assert.equal(dead!.state, 'dead');
      assert.equal(dead!.reason, 'exhausted');
      assert.equal(dead!.attempts, 3);
      assert.deepEqual(dead!.error, { name: 'TypeError', message: 'no such account' });
    });

    it('list newest first, page by page, each execution once', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const filter = { group: fence.lane.scope.group };
      // Some share a transaction, and perhaps their time.
      for (let base = 0; base < 12; base += 4) {
        const claims = [0, 1, 2, 3].map((n) => claimOf(given(`${base + n}`), base + n));
        await run(ledger, fence, claims, {}, BigInt(base + 4));
      }
      const seen: LedgerExecution[] = [];
      let after: string | undefined;
      let pages = 0;
      do {
        const page = await ledger.reader.list(filter, 5, after);
        seen.push(...page.executions);
        after = page.next;
        pages++;
      } while (after !== undefined);
      assert.equal(pages, 3);
      assert.deepEqual(keysOf(seen).sort(), Array.from({ length: 12 }, (_, n) => `${n}`).sort());
      const times = seen.map(({ finishedAt }) => finishedAt);
      assert.deepEqual(
        times,
        [...times].sort((left, right) => right - left),
      );
      assert.equal((await ledger.reader.list(filter, 12, undefined)).next, undefined);
    });

    it('list by state and time, and refuse a foreign cursor', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { group } = fence.lane.scope;
      await run(ledger, fence, [claimOf(given('good'), 0)], {}, 1n);
      await ledger.conclude(conclusionOf(fence, claimOf(given('bad'), 1)));
      const list = async (filter: object) =>
        keysOf((await ledger.reader.list({ group, ...filter }, 9, undefined)).executions);
      assert.deepEqual(await list({ state: 'failed' }), ['bad']);
      assert.deepEqual(await list({ state: 'dead' }), []);
      const [good] = (await ledger.reader.list({ group, state: 'completed' }, 1, undefined)).executions;
      assert.deepEqual((await list({ since: good!.finishedAt })).sort(), ['bad', 'good']);
      assert.ok(!(await list({ until: good!.finishedAt })).includes('good'));
      assert.deepEqual(await list({ since: systemClock.now() + 600_000 }), []);
      await rejectsWith(ledger.reader.list({}, 1, 'nonsense'), 'KT_WRONG_CALL_ORDER');
    });

    it('list by the state that is there now, newest first, page by page', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { group } = fence.lane.scope;
      const list = async (state: ExecutionState, limit = 9) => {
        const keys: string[] = [];
        for (let after: string | undefined, more = true; more; more = after !== undefined) {
          const page = await ledger.reader.list({ group, state }, limit, after);
          keys.push(...keysOf(page.executions));
          after = page.next;
        }
        return keys;
      };
      for (const [index, state] of (['failed', 'dead', 'dead', 'skipped', 'dead'] as const).entries()) {
        await ledger.conclude(conclusionOf(fence, claimOf(given(`${state} ${index}`), index), { state }));
      }
      const held = under(fence);
      await ledger.claims.claim(held, [claimOf(given('new'), 5), claimOf(given('other'), 6)], LONG);
      assert.deepEqual((await list('dead', 2)).sort(), ['dead 1', 'dead 2', 'dead 4']);
      assert.deepEqual(await list('skipped'), ['skipped 3']);
      assert.deepEqual((await list('claimed', 1)).sort(), ['new', 'other']);

      const failed = claimOf(given('failed 0'), 7);
      await ledger.claims.reclaim(held, failed, LONG);
      assert.deepEqual(await list('failed'), []);
      assert.deepEqual((await list('claimed')).sort(), ['failed 0', 'new', 'other']);
      await ledger.claims.release(held.token, [failed.key]);
      assert.deepEqual(await list('failed'), ['failed 0']);
      assert.deepEqual((await list('claimed')).sort(), ['new', 'other']);

      const { executions } = await ledger.reader.list({ group, state: 'dead' }, 9, undefined);
      const all = (await ledger.reader.list({ group }, 9, undefined)).executions;
      assert.deepEqual(
        executions,
        all.filter(({ state }) => state === 'dead'),
      );
      const last = executions[0]!.finishedAt;
      const after = await ledger.reader.list({ group, state: 'dead', since: last + 1 }, 9, undefined);
      assert.deepEqual(after.executions, []);
      const before = await ledger.reader.list({ group, state: 'dead', until: last + 1 }, 9, undefined);
      assert.deepEqual(before.executions, executions);
    });

    it('count by scope and state', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { group, handler } = fence.lane.scope;
      assert.deepEqual(await ledger.reader.counts({ group }), []);
      await run(ledger, fence, [claimOf(given('a'), 0), claimOf(given('b'), 1)], {}, 2n);
      for (const [key, state] of [
        ['c', 'failed'],
        ['d', 'skipped'],
      ] as const) {
        await ledger.conclude(conclusionOf(fence, claimOf(given(key), 2), { state }));
      }
      assert.deepEqual(await ledger.reader.counts({ group }), [
        { group, handler, completed: 2, failed: 1, dead: 0, skipped: 1, claimed: 0 },
      ]);
    });

    it('tell how much waits in the outbox, and since when', async () => {
      const ledger = await world().openLedger();
      assert.deepEqual(await ledger.reader.outboxLag(), { records: 0, age: 0, oldest: undefined });
      const { fence } = await ledger.takeFence(newLane(), always);
      const { lane } = fence;
      const records = [outboxOf({ topic: 'first' }), outboxOf()];
      await run(ledger, fence, [], { outbox: records.map((record) => ({ lane, record })) }, 1n);
      const lag = await ledger.reader.outboxLag();
      assert.equal(lag.records, 2);
      assert.equal(lag.oldest!.id, records[0]!.id);
      assert.equal(lag.oldest!.topic, 'first');
      assert.ok(lag.age >= 0 && lag.age < 60_000, `age ${lag.age}`);
    });
  });
}
