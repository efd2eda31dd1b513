import { LeaseLostError, LedgerUnreachableError } from '../../../lib/errors/errors.js';
import { ClaimGroup } from '../../../lib/execution/claim-group.js';
import type { LedgerClaims } from '../../../lib/execution/claims.js';
import { LeaseKeeper } from '../../../lib/execution/lease-keeper.js';
import type { Ledger } from '../../../lib/execution/ledger.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { silentLog } from '../../../lib/runtime/log.js';
import type { LaneWork } from '../../../lib/execution/prepared-lane.js';
import { conclusionOf, outboxOf } from '../../../lib/testing/contract/ledger-contract-world.js';
import { ExecutionWorld, expectRun, record } from './execution-world.js';

describe('ClaimGroup', () => {
  let world: ExecutionWorld;
  let keeper: LeaseKeeper;

  beforeEach(async () => {
    world = await new ExecutionWorld().open();
    keeper = new LeaseKeeper(world.ledger.claims, 60_000, systemClock, silentLog);
  });

  afterEach(() => world.ledger.close());

  const group = (claims: Partial<LedgerClaims> = world.ledger.claims) => {
    const ledger = Object.create(world.ledger, { claims: { value: claims } }) as Ledger;
    return new ClaimGroup(ledger, world.fences, keeper, () => undefined);
  };

  it('gives back what it was still claiming when it ended', async () => {
    const records = [record(0, 'a'), record(1, 'b')];
    const ended = group();
    const work = world.work(records);
    const admitted = ended.admit(work, records[0]!);
    await ended.rollback();
    await expect(admitted).rejects.toThrow(LeaseLostError);
    expect(world.ledger.store.claims.size).toBe(0);
    const next = group();
    expectRun(await next.admit(work, records[0]!));
    await next.rollback();
  });

  describe('when the answer to the COMMIT of a step that emitted is lost', () => {
    const emitted = outboxOf({ topic: 'emitted' });

    /** Runs a record's step in a group, then admits the record to a next one. */
    async function lose(stored: boolean, overrides: Partial<LaneWork>) {
      const only = record(0, 'a');
      const work = world.work([only], overrides);
      const lost = group();
      const execution = expectRun(await lost.admit(work, only));
      const journal = lost.open(execution, () => undefined).journal();
      world.ledger.loseNextCommitAnswer(stored);
      const step = { position: 0, name: 'charge', result: Buffer.from('r') };
      const transacted = journal.transact(async () => ({ step, outbox: [emitted] }));
      await expect(transacted).rejects.toThrow(LedgerUnreachableError);
      lost.close(execution);
      await lost.rollback();
      const next = group();
      const again = expectRun(await next.admit(work, only));
      const steps = await next
        .open(again, () => undefined)
        .journal()
        .load();
      next.close(again);
      await next.rollback();
      return { taken: again.fence.epoch !== execution.fence.epoch, steps: steps.length };
    }

    const producedTopics = () => world.produced.map(({ topic }) => topic);

    it('has it produced before the next run, which finds the step', async () => {
      expect(await lose(true, {})).toEqual({ taken: true, steps: 1 });
      expect(producedTopics()).toEqual(['emitted']);
    });

    it('has nothing produced if nothing was committed', async () => {
      expect(await lose(false, {})).toEqual({ taken: true, steps: 0 });
      expect(producedTopics()).toEqual([]);
    });

    it('leaves it to a sweep in a shared lane, where other groups are at work under the fence', async () => {
      expect(await lose(true, { isShared: true })).toEqual({ taken: false, steps: 1 });
      expect(producedTopics()).toEqual([]);
      expect([...world.ledger.store.outbox.keys()]).toHaveLength(1);
    });
  });

  it('gives back a failed execution that it was still taking over when it ended', async () => {
    const request = record(0, 'a');
    const work = world.work([request], { kind: () => 'request' });
    const first = group();
    const { claim, fence } = expectRun(await first.admit(work, request));
    await first.rollback();
    await world.ledger.conclude(conclusionOf(fence, claim, { state: 'failed', reply: Buffer.from('no') }));
    const again = record(1, 'a');
    const { claims } = world.ledger;
    const ended: ClaimGroup = group({
      claim: (...args) => claims.claim(...args),
      release: (...args) => claims.release(...args),
      reclaim: async (...args) => {
        await ended.rollback();
        return claims.reclaim(...args);
      },
    });
    const admitted = ended.admit(world.work([again], { kind: () => 'request' }), again);
    await expect(admitted).rejects.toThrow(LeaseLostError);
    expect(world.ledger.store.claims.size).toBe(0);
    const [execution] = world.ledger.store.executions.values();
    expect(execution!.state).toBe('failed');
  });
});
