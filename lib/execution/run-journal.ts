import type { OutboxRecord } from './ledger-terms.js';
import type { RecordedStep } from './step-journal.js';

/** What a step leaves behind. */
export interface StepOutcome {
  readonly step: RecordedStep;
  readonly outbox: readonly OutboxRecord[];
}

/** Where the steps of one run are kept; how depends on the mode. */
export interface RunJournal {
  /** What earlier runs recorded. */
  load(): Promise<readonly RecordedStep[]>;
  /**
   * Does a step's work and records what it leaves behind.
   * @param undoable `work` may be called again or be given up: what it wrote must not stay.
   * @param work is given the client of the transaction that it is in; `undefined` if it is in none.
   */
  step(undoable: boolean, work: (client: unknown) => Promise<StepOutcome>): Promise<void>;
  /** The same for work that writes: record and writes commit together or not at all. */
  transact(work: (client: unknown) => Promise<StepOutcome>): Promise<void>;
}
