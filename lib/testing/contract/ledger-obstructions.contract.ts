import assert from 'node:assert/strict';
import type { Fence, Lane, LaneClaim, Ledger, LedgerTransaction } from '../../execution/ledger.js';
import type { Obstruction } from '../../execution/ledger-members.js';
import { eventually } from './eventually.js';
import {
  always,
  claimOf,
  isPending,
  newLane,
  nothing,
  run,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

interface Held {
  readonly fence: Fence;
  readonly transaction: LedgerTransaction;
}

const ways: readonly (readonly [how: string, hold: (ledger: Ledger, lane: Lane) => Promise<Held>])[] = [
  ['moved its fence', (ledger, lane) => claiming(ledger, lane, 1n)],
  ['shares its lane', (ledger, lane) => claiming(ledger, lane, null)],
  [
    'writes with a step of its lane',
    async (ledger, lane) => {
      const { fence } = await ledger.takeFence(lane, always);
      const transaction = ledger.transaction();
      await transaction.begin(lane);
      return { fence, transaction };
    },
  ],
];

async function claiming(ledger: Ledger, lane: Lane, advanceTo: LaneClaim['advanceTo']): Promise<Held> {
  const { fence } = await ledger.takeFence(lane, always);
  const transaction = ledger.transaction();
  await transaction.claim({ fence, advanceTo, executions: [claimOf('twin')] });
  return { fence, transaction };
}

/** Transactions of processes that are no members any more, and that others wait for. */
export function describeObstructions({ describe, it }: ContractRunner, world: CurrentWorld): void {
  const openThree = async () =>
    [await world().openLedger(), await world().openLedger(), await world().openLedger()] as const;

  const seenBy = async (ledger: Ledger, { scope }: Lane): Promise<Obstruction | undefined> => {
    const [first] = await ledger.members.obstructions([scope.group]);
    return first;
  };

  describe('obstructions', () => {
    for (const [how, hold] of ways) {
      it(`are transactions of others that somebody waits for: one that ${how}`, async () => {
        const [owner, successor, witness] = await openThree();
        const lane = newLane();
        const { transaction } = await hold(owner, lane);
        assert.deepEqual(await witness.members.obstructions([lane.scope.group]), []);
        const taken = successor.takeFence(lane, () => Promise.resolve(false));
        const { group: groupId } = lane.scope;
        await eventually('somebody is kept waiting', async () => (await seenBy(witness, lane)) !== undefined);
        const { instance, ...where } = (await seenBy(witness, lane))!;
        assert.deepEqual(where, { groupId, topic: lane.topic, topicId: lane.topicId });
        assert.equal(await seenBy(owner, lane), undefined, 'its own');
        assert.deepEqual(await witness.members.obstructions([newLane().scope.group]), []);

        assert.equal(await witness.members.endTransactions(newLane().scope.group, instance), 0);
        assert.equal(await witness.members.endTransactions(groupId, 'nobody'), 0);
        assert.equal(await isPending(taken), true);
        assert.equal(await witness.members.endTransactions(groupId, instance), 1);
        const { fence } = await taken;
        assert.equal(fence.nextOffset, 0n);
        await assert.rejects(transaction.commit(nothing));
        await transaction.rollback();
        assert.deepEqual(await run(successor, fence, [claimOf('twin')], {}, 1n), ['claimed']);
        assert.deepEqual(await witness.members.obstructions([groupId]), []);
        assert.equal(await witness.members.endTransactions(groupId, instance), 0);
      });
    }

    it('also keep others waiting for what is locked besides a lane', async () => {
      const [owner, other, witness] = await openThree();
      const lane = newLane();
      const { transaction } = await claiming(owner, lane, 1n);
      const { fence } = await other.takeFence({ ...lane, partition: 1 }, always);
      const twin = run(other, fence, [claimOf('twin')], {}, 1n);
      await eventually('somebody is kept waiting', async () => (await seenBy(witness, lane)) !== undefined);
      const { groupId, instance } = (await seenBy(witness, lane))!;
      assert.equal(await witness.members.endTransactions(groupId, instance), 1);
      assert.deepEqual(await twin, ['claimed']);
      await transaction.rollback();
    });
  });
}
