import assert from 'node:assert/strict';
import type { Fence, Ledger } from '../../execution/ledger.js';
import type { RecordedStep } from '../../execution/step-journal.js';
import {
  always,
  claimOf,
  newLane,
  nothing,
  rejectsWith,
  type ContractRunner,
  type CurrentWorld,
} from './ledger-contract-world.js';

export function stepOf(position: number, name: string, result = `result of ${name}`): RecordedStep {
  return { position, name, result: Buffer.from(result) };
}

export function describeSteps({ describe, it }: ContractRunner, world: CurrentWorld): void {
  /** A transaction that has claimed one key. */
  async function begun(ledger: Ledger, key: string) {
    const { fence } = await ledger.takeFence(newLane(), always);
    const transaction = ledger.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf(key)] });
    return { fence, transaction };
  }

  const stepsOf = (ledger: Ledger, { lane }: Fence, key: string) =>
    ledger.steps.find(lane.scope, Buffer.from(key));

  describe('steps', () => {
    it('are stored with the transaction, for their execution alone, and found by position', async () => {
      const ledger = await world().openLedger();
      const { fence, transaction } = await begun(ledger, 'a');
      const { scope } = fence.lane;
      const recorded = [
        stepOf(0, 'charge'),
        stepOf(1, 'a "name" \\ with, {signs}', ''),
        { position: 2, name: 'bytes', result: Buffer.from([0, 255, 1]) },
      ];
      const steps = [...recorded]
        .reverse()
        .map((step) => ({ scope, key: Buffer.from('a'), step, token: undefined }));
      await transaction.commit({ ...nothing, steps });
      assert.deepEqual(await stepsOf(ledger, fence, 'a'), recorded);
      assert.deepEqual(await stepsOf(ledger, fence, 'b'), []);
      assert.deepEqual(await ledger.steps.find({ ...scope, handler: 'Other.handler' }, Buffer.from('a')), []);
      const other = await world().openLedger();
      assert.deepEqual(await stepsOf(other, fence, 'a'), recorded);
    });

    it('are gone with a transaction that does not commit', async () => {
      const ledger = await world().openLedger();
      const { fence, transaction } = await begun(ledger, 'a');
      await world()
        .fail(transaction.client)
        .catch(() => undefined);
      const steps = [
        { scope: fence.lane.scope, key: Buffer.from('a'), step: stepOf(0, 'charge'), token: undefined },
      ];
      await rejectsWith(transaction.commit({ ...nothing, steps }), 'KT_TRANSACTION_ABORTED');
      assert.deepEqual(await stepsOf(ledger, fence, 'a'), []);
    });
  });

  describe('a nested part', () => {
    it('keeps what it wrote if it resolves, and resolves with its result', async () => {
      const ledger = await world().openLedger();
      const { transaction } = await begun(ledger, 'a');
      const result = await transaction.nested(async (client) => {
        await world().write(client, 'inner');
        await world().write(transaction.client, 'outer, meanwhile');
        return 42;
      });
      assert.equal(result, 42);
      await transaction.commit(nothing);
      assert.deepEqual((await world().written()).sort(), ['inner', 'outer, meanwhile']);
    });

    it('leaves nothing if it rejects, and the transaction goes on, also after an error of the store', async () => {
      const ledger = await world().openLedger();
      const { transaction } = await begun(ledger, 'a');
      await world().write(transaction.client, 'before');
      const failure = new Error('mine');
      const failing = transaction.nested(async (client) => {
        await world().write(client, 'undone');
        throw failure;
      });
      await assert.rejects(failing, (error) => error === failure);
      const broken = transaction.nested(async (client) => {
        await world().write(client, 'undone too');
        await world().fail(client);
      });
      await assert.rejects(broken);
      await transaction.nested((client) => world().write(client, 'again'));
      await transaction.commit(nothing);
      assert.deepEqual((await world().written()).sort(), ['again', 'before']);
    });

    it('that swallows an error of the store has failed', async () => {
      const ledger = await world().openLedger();
      const { transaction } = await begun(ledger, 'a');
      const swallowing = transaction.nested(async (client) => {
        await world().write(client, 'undone');
        await world()
          .fail(client)
          .catch(() => undefined);
      });
      await rejectsWith(swallowing, 'KT_TRANSACTION_ABORTED');
      await transaction.commit(nothing);
      assert.deepEqual(await world().written(), []);
    });

    it('is left alone by its client once it is over', async () => {
      const ledger = await world().openLedger();
      const { transaction } = await begun(ledger, 'a');
      const late = await transaction.nested((client) => Promise.resolve({ client }));
      await rejectsWith(world().write(late.client, 'late'), 'KT_WRONG_CALL_ORDER');
      await transaction.commit(nothing);
      assert.deepEqual(await world().written(), []);
    });
  });
}
