import type { RecordHeader } from '../messages/record.js';
import type { OutboxRecord, Scope } from './ledger-terms.js';

/** Which dead executions; what is absent says nothing. Times are milliseconds since the epoch, by the store's clock. */
export interface DeadFilter {
  readonly group?: string | undefined;
  readonly handler?: string | undefined;
  readonly topic?: string | undefined;
  readonly reason?: string | undefined;
  /** Class of the error that the last attempt ended in. */
  readonly errorClass?: string | undefined;
  /** Encoded forms of the idempotency key. */
  readonly keys?: readonly Buffer[] | undefined;
  /** Died at or after. */
  readonly since?: number | undefined;
  /** Died before. */
  readonly until?: number | undefined;
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

/** Puts dead executions back on their way. */
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
}
