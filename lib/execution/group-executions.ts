import type { KafkaRecord } from '../messages/record.js';
import type { Admission } from './admissions.js';
import type { Execution, LaneWork } from './prepared-lane.js';
import type { Lane, OutboxRecord } from './ledger.js';
import type { RunJournal } from './run-journal.js';

/** What a run of a handler works with. */
export interface OpenedRun {
  /** The client of the message's transaction; `undefined` if there is none. */
  readonly client: unknown;
  /** Filled by the run, and committed with it. */
  readonly outbox: OutboxRecord[];
  /** Of the run's steps; called once, at the first of them. */
  readonly journal: () => RunJournal;
}

/** What a delivery leaves behind when its group commits. */
export interface FinishedExecution {
  readonly record: KafkaRecord;
  readonly lane: Lane;
  /** Packed replies of a request that ran. */
  readonly reply: Buffer | undefined;
  readonly outbox: readonly OutboxRecord[];
}

/** The ledger's side of a group; the order of calls is `admit → open → close` for each record, then `commit`. */
export interface GroupExecutions {
  /**
   * Not a promise where nothing has to be asked.
   * @throws IdempotencyKeyError, KeyReusedError, FencedError, LedgerUnreachableError, ExecutionInWorkError, by rejecting
   */
  admit(work: LaneWork, record: KafkaRecord): Admission | Promise<Admission>;
  /** The record has ended for this handler, which is known without asking. */
  isOver(lane: Lane, record: KafkaRecord): boolean;
  /** What a record claimed for a handler, also after the end; `undefined` if it has no key or was over before. */
  executionOf(lane: Lane, record: KafkaRecord): Execution | undefined;
  /** @param onLost called if somebody else may have taken the execution over: the run is not wanted any more. */
  open(execution: Execution, onLost: (error: Error) => void): OpenedRun;
  /** The run has returned or thrown, also if its group was over before. */
  close(execution: Execution): void;
  /** What a run's error, or `undefined` for a success, really means. */
  explain(execution: Execution | undefined, error: unknown): unknown;
  /**
   * Makes what finished durable, and gives the rest back. Resolves with what is to be produced.
   * @throws FencedError, CommitUnknownError, TransactionAbortedError, LedgerUnreachableError, LeaseLostError
   */
  commit(finished: readonly FinishedExecution[]): Promise<OutboxRecord[]>;
  /** Idempotent; never rejects. */
  rollback(): Promise<void>;
}
