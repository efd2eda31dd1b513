import { CommitUnknownError, LedgerUnreachableError } from '../errors/errors.js';
import type { KafkaRecord } from '../messages/record.js';
import { Admissions, type Admission } from './admissions.js';
import { hasRow, reached, type Execution, type LaneWork } from './prepared-lane.js';
import type { FenceRegistry } from './fence-registry.js';
import type { FinishedExecution, GroupExecutions, OpenedRun } from './group-executions.js';
import type { Lane, Ledger, LedgerTransaction, OutboxRecord } from './ledger.js';
import { noteParking, parkingOf } from './parked-letters.js';
import type { StepToStore } from './step-journal.js';
import { TransactionJournal } from './transaction-journal.js';

/**
 * Transaction mode: claims the keys of a group's records in one transaction, and commits what ran in it with the
 * handlers' own writes.
 */
export class ExecutionGroup implements GroupExecutions {
  readonly transaction: LedgerTransaction;
  private readonly admissions: Admissions;
  /** Of runs that have steps. */
  private readonly journals = new Map<Execution, TransactionJournal>();

  constructor(
    private readonly ledger: Ledger,
    private readonly fences: FenceRegistry,
    isConcurrent = false,
  ) {
    this.transaction = ledger.transaction({ isConcurrent });
    this.admissions = new Admissions(ledger, fences, {
      claimsPositions: false,
      claim: (claim) => this.transaction.claim(claim),
      takeOver: ({ fence, claim }) => this.transaction.reclaim(fence, claim),
    });
  }

  admit(work: LaneWork, record: KafkaRecord): Admission | Promise<Admission> {
    return this.admissions.admit(work, record);
  }

  isOver(lane: Lane, record: KafkaRecord): boolean {
    return this.admissions.isOver(lane, record);
  }

  executionOf(lane: Lane, record: KafkaRecord): Execution | undefined {
    return this.admissions.executionOf(lane, record);
  }

  open(execution: Execution): OpenedRun {
    const outbox: OutboxRecord[] = [];
    return {
      client: this.transaction.client,
      outbox,
      journal: () => this.newJournal(execution, outbox),
    };
  }

  private newJournal(execution: Execution, outbox: OutboxRecord[]): TransactionJournal {
    const { fence, claim, resumed } = execution;
    const journal = new TransactionJournal(this.transaction, outbox, async () =>
      resumed ? this.ledger.steps.find(fence.lane.scope, claim.key) : [],
    );
    this.journals.set(execution, journal);
    return journal;
  }

  /** Everything ends with the transaction. */
  close(): void {}

  /** The connection is gone: whatever the handler threw, it threw because of that. */
  explain(_execution: Execution | undefined, error: unknown): unknown {
    if (error === undefined || !this.transaction.broken) return error;
    return new LedgerUnreachableError("The connection of the message's transaction was lost", {
      cause: error,
    });
  }

  async commit(finished: readonly FinishedExecution[]): Promise<OutboxRecord[]> {
    const { claimed } = this.admissions;
    if (claimed.length > 0) {
      const moved = claimed.map((lane) => {
        const done = recordsOf(lane.work.lane, finished);
        return { lane, parking: parkingOf(lane, done), ...reached(lane, done) };
      });
      try {
        await this.transaction.commit({
          releases: moved
            .filter(({ isComplete }) => !isComplete)
            .map(({ lane: { fence, work }, nextOffset, undone }) => ({
              fence,
              nextOffset,
              keys: undone.filter((execution) => hasRow(work, execution)).map(({ claim }) => claim.key),
            })),
          replies: finished.flatMap(({ record, lane, reply }) => {
            const key = reply && this.executionOf(lane, record)?.claim.key;
            return key ? [{ scope: lane.scope, key, body: reply }] : [];
          }),
          outbox: finished.flatMap(({ lane, outbox }) => outbox.map((record) => ({ lane, record }))),
          steps: this.journals.size > 0 ? finished.flatMap((execution) => this.stepsOf(execution)) : [],
          parking: moved.flatMap(({ parking }) => parking ?? []),
        });
      } catch (error) {
        this.forget(error, finished);
        throw error;
      }
      for (const { lane, nextOffset, parking } of moved) {
        if (parking) noteParking(this.fences, lane, parking);
        if (nextOffset !== null) this.fences.advance(lane.fence, nextOffset);
      }
    }
    return finished.flatMap(({ outbox }) => outbox);
  }

  /**
   * Whether a failed commit took effect is for the ledger to say, not for what we remember. Of a shared lane nothing is
   * remembered that the commit would have changed, and taking its fence would stop the groups beside this one; that is
   * only needed to have produced what it may have left in the outbox, and to hear what is parked.
   */
  private forget(error: unknown, finished: readonly FinishedExecution[]): void {
    const mayHaveLeft =
      error instanceof CommitUnknownError && finished.some(({ outbox }) => outbox.length > 0);
    for (const { fence, work, hasParked } of this.admissions.claimed) {
      if (!work.isShared || mayHaveLeft || hasParked || work.letter) this.fences.forget(fence, error);
    }
  }

  async rollback(): Promise<void> {
    await this.transaction.rollback();
  }

  /** Nobody will ask for those of a record that is known by its position: once committed, it is below the fence. */
  private stepsOf({ lane, record }: FinishedExecution): StepToStore[] {
    const execution = this.executionOf(lane, record);
    const journal = execution && this.journals.get(execution);
    if (!journal || execution.key.kind === 'position') return [];
    const { key } = execution.claim;
    return journal.steps.map((step) => ({ scope: lane.scope, key, step, token: undefined }));
  }
}

/** Per handler: what one of them did says nothing about the others. */
export function recordsOf({ scope }: Lane, finished: readonly FinishedExecution[]): Set<KafkaRecord> {
  const own = finished.filter(({ lane }) => lane.scope.handler === scope.handler);
  return new Set(own.map(({ record }) => record));
}
