import assert from 'node:assert/strict';
import type { KafkaTransportError } from '../../errors/kafka-transport.error.js';
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

export function describeTransactions({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('transactions', () => {
    it('commit executions together with the handlers’ writes', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const executions = [claimOf('a', 3), claimOf('b', 4)];
      const transaction = ledger.transaction();
      assert.deepEqual(await transaction.claim({ fence, advanceTo: 5n, executions }), ['claimed', 'claimed']);
      await world().write(transaction.client, 'effect');
      assert.deepEqual(await world().written(), []);
      await transaction.commit(nothing);
      assert.deepEqual(await world().written(), ['effect']);
      assert.deepEqual(
        await look(ledger, fence, executions),
        executions.map((execution) => knownOf(fence.lane, execution)),
      );
      assert.equal(transaction.broken, false);
    });

    it('leave nothing behind when rolled back', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 9n, executions: [claimOf('a')] });
      await world().write(transaction.client, 'effect');
      await transaction.rollback();
      await transaction.rollback();
      assert.deepEqual(await world().written(), []);
      assert.deepEqual(await look(ledger, fence, [claimOf('a')]), ['claimed']);
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 0n);
    });

    it('answer in the order of the claims, known and new mixed', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [claimOf('m', 2, 5n)]);
      assert.deepEqual(await look(ledger, fence, [claimOf('z', 7), claimOf('m', 8), claimOf('a', 9)]), [
        'claimed',
        knownOf(fence.lane, claimOf('m', 2, 5n)),
        'claimed',
      ]);
    });

    it('keep keys of other handlers and groups apart', async () => {
      const ledger = await world().openLedger();
      const lane = newLane();
      const others = [
        { ...lane, scope: { ...lane.scope, handler: 'Orders.other' } },
        { ...lane, scope: { ...lane.scope, group: `${lane.scope.group}-other` } },
      ];
      await run(ledger, (await ledger.takeFence(lane, always)).fence, [claimOf('a')]);
      for (const other of others) {
        const { fence } = await ledger.takeFence(other, always);
        assert.deepEqual(await look(ledger, fence, [claimOf('a')]), ['claimed']);
      }
    });

    it('take any bytes as a key and any 64 bits as fingerprint and offset', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane({ partition: 2 ** 31 - 1 }), always);
      const executions = [
        claimOf(Buffer.from([0]), 0, -(2n ** 63n)),
        claimOf(Buffer.from([0, 0]), 1, 2n ** 63n - 1n),
        claimOf(Buffer.from([0x5c, 0x22, 0x2c, 0x7b, 0x7d, 0xff]), 2n ** 53n + 1n, 0n),
        claimOf(Buffer.alloc(513, 0xfe), 2n ** 63n - 1n, -1n),
      ];
      await run(ledger, fence, executions);
      assert.deepEqual(
        await look(ledger, fence, executions),
        executions.map((execution) => knownOf(fence.lane, execution)),
      );
    });

    it('know their own claims in a second lane', async () => {
      const ledger = await world().openLedger();
      const lane = newLane();
      const first = await ledger.takeFence(lane, always);
      const second = await ledger.takeFence({ ...lane, partition: 1 }, always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence: first.fence, advanceTo: 4n, executions: [claimOf('a', 3)] });
      const verdicts = await transaction.claim({
        fence: second.fence,
        advanceTo: 6n,
        executions: [claimOf('a', 5), claimOf('b', 5)],
      });
      assert.deepEqual(verdicts, [knownOf(lane, claimOf('a', 3)), 'claimed']);
      await transaction.commit(nothing);
      assert.equal((await ledger.takeFence(lane, always)).fence.nextOffset, 4n);
      assert.equal((await ledger.takeFence(second.fence.lane, always)).fence.nextOffset, 6n);
    });

    it('make a twin wait, and tell it what was committed', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      const { fence: otherFence } = await other.takeFence({ ...lane, partition: 1 }, always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a', 0)] });
      const twin = look(other, otherFence, [claimOf('a', 10)]);
      assert.equal(await isPending(twin), true);
      await transaction.commit(nothing);
      assert.deepEqual(await twin, [knownOf(lane, claimOf('a', 0))]);
    });

    it('let a waiting twin claim once they have rolled back', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      const { fence: otherFence } = await other.takeFence({ ...lane, partition: 1 }, always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a', 0)] });
      const twin = look(other, otherFence, [claimOf('a', 10)]);
      assert.equal(await isPending(twin), true);
      await transaction.rollback();
      assert.deepEqual(await twin, ['claimed']);
    });

    it('can be rolled back while they wait for a twin', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      const { fence: otherFence } = await other.takeFence({ ...lane, partition: 1 }, always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
      const twin = other.transaction();
      const claimed = twin.claim({ fence: otherFence, advanceTo: 1n, executions: [claimOf('a')] });
      assert.equal(await isPending(claimed), true);
      await Promise.all([
        twin.rollback(),
        assert.rejects(claimed, (error) => (error as KafkaTransportError).retryable),
      ]);
      await transaction.commit(nothing);
      assert.equal((await look(other, otherFence, [claimOf('a')]))[0] === 'claimed', false);
    });

    it('do not deadlock on opposite orders of keys', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const lane = newLane();
      const { fence } = await ledger.takeFence(lane, always);
      const { fence: otherFence } = await other.takeFence({ ...lane, partition: 1 }, always);
      const { fence: middleFence } = await ledger.takeFence({ ...lane, partition: 2 }, always);
      // Both get stuck half-way, at a key that a third one holds.
      const middle = ledger.transaction();
      await middle.claim({ fence: middleFence, advanceTo: 0n, executions: [claimOf('b')] });
      const keys = [claimOf('a', 0), claimOf('b', 1), claimOf('c', 2)];
      const both = Promise.all([run(ledger, fence, keys), run(other, otherFence, keys.toReversed())]);
      assert.equal(await isPending(both), true);
      await middle.rollback();
      const claims = (await both).flat().filter((verdict) => verdict === 'claimed');
      assert.equal(claims.length, keys.length);
    });

    it('roll back as a whole when a handler swallowed a database error', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
      await world().write(transaction.client, 'effect');
      await assert.rejects(world().fail(transaction.client));
      await rejectsWith(
        transaction.commit({
          ...nothing,
          replies: [{ scope: fence.lane.scope, key: Buffer.from('a'), body: Buffer.alloc(1) }],
        }),
        'KT_TRANSACTION_ABORTED',
      );
      assert.equal(transaction.broken, false);
      assert.deepEqual(await world().written(), []);
      assert.deepEqual(await look(ledger, fence, [claimOf('a')]), ['claimed']);
    });

    it('refuse work after their end and before their beginning', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const transaction = ledger.transaction();
      await rejectsWith(world().write(transaction.client, 'early'), 'KT_WRONG_CALL_ORDER');
      await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
      await transaction.commit(nothing);
      await assert.rejects(world().write(transaction.client, 'late'), /floating/);
      await rejectsWith(transaction.commit(nothing), 'KT_WRONG_CALL_ORDER');
      await rejectsWith(
        transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('b')] }),
        'KT_WRONG_CALL_ORDER',
      );
      await transaction.rollback();
      assert.deepEqual(await world().written(), []);
    });

    it('may end without having begun', async () => {
      const ledger = await world().openLedger();
      await ledger.transaction().rollback();
      await ledger.transaction().commit(nothing);
    });

    it('claim a lane once', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
      await rejectsWith(
        transaction.claim({ fence, advanceTo: 2n, executions: [claimOf('b')] }),
        'KT_WRONG_CALL_ORDER',
      );
      await transaction.rollback();
    });

    it('give released claims back and keep the others', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const executions = [claimOf('a', 0), claimOf('b', 1), claimOf('c', 2)];
      const releases = [{ fence, keys: [Buffer.from('b'), Buffer.from('c')], nextOffset: 1n }];
      await run(ledger, fence, executions, { releases }, 3n);
      assert.deepEqual(await look(ledger, fence, executions), [
        knownOf(fence.lane, executions[0]!),
        'claimed',
        'claimed',
      ]);
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 1n);
    });

    it('give the fence back with what they leave undone, also where a key was known', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [claimOf('known', 0)], {}, 1n);
      const executions = [claimOf('a', 1), claimOf('known', 2), claimOf('b', 3)];
      const releases = [{ fence, keys: [Buffer.from('b')], nextOffset: 3n }];
      await run(ledger, fence, executions, { releases }, 4n);
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 3n);
    });

    it('release no further back than the fence stood before', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [claimOf('a', 9)], {}, 10n);
      const releases = [{ fence, keys: [Buffer.from('b')], nextOffset: 3n }];
      await run(ledger, fence, [claimOf('b', 11)], { releases }, 12n);
      assert.equal((await ledger.takeFence(fence.lane, always)).fence.nextOffset, 10n);
    });

    it('do not release what they did not claim', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      await run(ledger, fence, [claimOf('a')], {}, 1n);
      const releases = [{ fence, keys: [Buffer.from('a')], nextOffset: 0n }];
      await rejectsWith(
        run(ledger, fence, [claimOf('a'), claimOf('b')], { releases }),
        'KT_WRONG_CALL_ORDER',
      );
      assert.deepEqual(await look(ledger, fence, [claimOf('a'), claimOf('b')]), [
        knownOf(fence.lane, claimOf('a')),
        'claimed',
      ]);
    });

    it('store replies byte for byte', async () => {
      const ledger = await world().openLedger();
      const { fence } = await ledger.takeFence(newLane(), always);
      const { scope } = fence.lane;
      const bodies = [
        Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
        Buffer.alloc(0),
        Buffer.alloc(300_000, 0xab),
      ];
      const executions = bodies.map((_, index) => claimOf(`key ${index}`, index));
      const replies = bodies.map((body, index) => ({ scope, key: executions[index]!.key, body }));
      await run(ledger, fence, executions, { replies });
      const found = await ledger.findReplies(scope, [
        ...executions.map(({ key }) => key),
        Buffer.from('other'),
      ]);
      assert.deepEqual(
        executions.map(({ key }) => found.get(key.toString('latin1'))),
        bodies,
      );
      assert.equal(found.size, bodies.length);
      assert.equal((await ledger.findReplies({ ...scope, handler: 'other' }, [executions[0]!.key])).size, 0);
    });
  });
}
