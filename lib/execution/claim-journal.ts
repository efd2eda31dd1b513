import { CommitUnknownError, LedgerUnreachableError } from '../errors/errors.js';
import type { Clock } from '../runtime/clock.js';
import type { Execution } from './prepared-lane.js';
import { insist } from './insist.js';
import type { Lease } from './lease.js';
import type { Ledger, OutboxRecord } from './ledger.js';
import type { RunJournal, StepOutcome } from './run-journal.js';
import type { RecordedStep } from './step-journal.js';

/** What becomes of the records that transactions of steps emit. Neither call throws. */
export interface StepOutlet {
  /** They are committed. */
  dispatch(outbox: readonly OutboxRecord[]): void;
  /** Some may be committed, or none: the answer was lost. */
  doubt(error: CommitUnknownError): void;
}

/** Claim mode: keeps the steps of a run in transactions of their own, each for as long as the claim is held. */
export class ClaimJournal implements RunJournal {
  constructor(
    private readonly ledger: Ledger,
    private readonly execution: Execution,
    private readonly lease: Lease,
    private readonly clock: Clock,
    private readonly outlet: StepOutlet,
  ) {}

  async load(): Promise<readonly RecordedStep[]> {
    const { resumed, fence, claim } = this.execution;
    return resumed ? this.ledger.steps.find(fence.lane.scope, claim.key) : [];
  }

  async step(_undoable: boolean, work: (client: unknown) => Promise<StepOutcome>): Promise<void> {
    const { step } = await work(undefined);
    // It has happened: while the claim is ours, nobody else can say so.
    await insist(
      this.clock,
      () => this.lease.isFresh,
      () => this.ledger.steps.record(this.stored(step)),
    );
  }

  async transact(work: (client: unknown) => Promise<StepOutcome>): Promise<void> {
    const { lane } = this.execution.fence;
    const transaction = this.ledger.transaction();
    try {
      // A process that is stopped in the middle must not keep what it has locked from its successor.
      await transaction.begin(lane);
      const { step, outbox } = await work(transaction.client);
      await transaction
        .commit({
          releases: [],
          replies: [],
          outbox: outbox.map((record) => ({ lane, record })),
          steps: [this.stored(step)],
        })
        .catch((error: unknown) => {
          if (error instanceof CommitUnknownError && outbox.length > 0) this.outlet.doubt(error);
          throw error;
        });
      this.outlet.dispatch(outbox);
    } catch (error) {
      if (!transaction.broken) throw error;
      throw new LedgerUnreachableError("The connection of a step's transaction was lost", { cause: error });
    } finally {
      await transaction.rollback();
    }
  }

  private stored(step: RecordedStep) {
    const { fence, claim } = this.execution;
    return { scope: fence.lane.scope, key: claim.key, step, token: this.lease.token };
  }
}
