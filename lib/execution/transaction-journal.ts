import type { OutboxRecord } from './ledger-terms.js';
import type { LedgerTransaction } from './ledger.js';
import type { RunJournal, StepOutcome } from './run-journal.js';
import type { RecordedStep } from './step-journal.js';

/** Keeps the steps of a run in the message's own transaction: they are stored when, and only if, the message commits. */
export class TransactionJournal implements RunJournal {
  /** What this run recorded, to be stored with the group. */
  readonly steps: RecordedStep[] = [];

  /** @param outbox of the run: what steps emit is the run's own. */
  constructor(
    private readonly transaction: LedgerTransaction,
    private readonly outbox: OutboxRecord[],
    readonly load: () => Promise<readonly RecordedStep[]>,
  ) {}

  async step(undoable: boolean, work: (client: unknown) => Promise<StepOutcome>): Promise<void> {
    const { client } = this.transaction;
    this.keep(undoable ? await this.transaction.nested(work) : await work(client));
  }

  async transact(work: (client: unknown) => Promise<StepOutcome>): Promise<void> {
    this.keep(await this.transaction.nested(work));
  }

  private keep({ step, outbox }: StepOutcome): void {
    this.steps.push(step);
    this.outbox.push(...outbox);
  }
}
