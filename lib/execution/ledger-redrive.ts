import type { RecordHeader } from '../messages/record.js';
import type { OutboxRecord, Scope } from './ledger-terms.js';

/** Which dead records; what is absent says nothing. Times are milliseconds since the epoch. */
export interface DeadFacts {
  /** Consumer group, with Nest's postfix: `billing-server`. */
  readonly group?: string | undefined;
  readonly handler?: string | undefined;
  readonly topic?: string | undefined;
  /** As in the dead letter's `dlt-reason`. */
  readonly reason?: string | undefined;
  /** Class of the error that the last attempt ended in. */
  readonly errorClass?: string | undefined;
  /** Died at or after. */
  readonly since?: number | undefined;
  /** Died before. */
  readonly until?: number | undefined;
}

/** Which dead executions. Times are by the store's clock. */
export interface DeadFilter extends DeadFacts {
  /** Encoded forms of the idempotency key. */
  readonly keys?: readonly Buffer[] | undefined;
}

/** A dead execution with all bytes of its record. */
export interface DeadExecution {
  readonly scope: Scope;
  /** Encoded. */
  readonly key: Buffer;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly recordKey: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

/** How many dead executions there are of a kind. */
export interface DeadCount extends Scope {
  readonly topic: string;
  readonly reason: string;
  readonly errorClass: string | null;
  readonly records: number;
}

export interface RedriveResult {
  /** Those that were taken back, with the records that are committed in their place. */
  readonly redriven: readonly { readonly dead: DeadExecution; readonly record: OutboxRecord }[];
  /** How many were looked at and left. */
  readonly left: number;
  /** Where the next call goes on; `undefined` at the end. */
  readonly next: string | undefined;
}

/** A dead letter that was found in a topic, and the record that is to be committed for it. */
export interface FoundLetter {
  /** Whose record died; for handlers that are not durable too. */
  readonly scope: Scope;
  /** Encoded; `undefined` where the letter names none. */
  readonly key: Buffer | undefined;
  /** Where the record was. */
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Of the record, ms since the epoch. */
  readonly timestamp: number;
  readonly record: OutboxRecord;
}

/**
 * - `redriven`: its record is committed to the outbox, and its dead execution, if there still is one, taken back;
 * - `done`: it was redriven before, from wherever, or its key has been dealt with since;
 * - `early`: its record may still come back by itself, or its key is in work. Another time it may be redriven.
 */
export type LetterVerdict = 'redriven' | 'done' | 'early';

/** Puts dead executions back on their way. What was put back once is remembered for good. */
export interface LedgerRedrive {
  count(filter: DeadFilter): Promise<DeadCount[]>;
  /**
   * Looks at up to `limit` dead executions, oldest first, behind `after`. For each that `recordOf` gives a record for, the
   * execution with its failure and dead letter is deleted and the record written to the outbox, all in one transaction:
   * the key may run again from then on, and only with that record. What its steps have recorded stays.
   * Executions at positions that their fence does not cover yet are passed by: their records may still come back by
   * themselves. So are those that another call is at.
   */
  redrive(
    filter: DeadFilter,
    limit: number,
    after: string | undefined,
    recordOf: (dead: DeadExecution) => OutboxRecord | undefined,
  ): Promise<RedriveResult>;
  /**
   * Decides about letters of a dead-letter topic, in one transaction with what follows. A letter whose execution is gone
   * was either redriven, which is remembered, or pruned: then it is redriven.
   *
   * @param dryRun nothing is stored.
   * @returns a verdict for each, in their order. The same letter given twice is redriven once.
   */
  redriveLetters(letters: readonly FoundLetter[], dryRun: boolean): Promise<LetterVerdict[]>;
}
