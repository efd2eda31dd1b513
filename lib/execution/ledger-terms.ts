import type { RecordHeader } from '../messages/record.js';

/** Where an idempotency key is unique: a handler within a consumer group. */
export interface Scope {
  /** With Nest's postfix: `billing-server`. */
  readonly group: string;
  /** `Class.method`, or what `@Durable({ name })` says. */
  readonly handler: string;
}

export interface Lane {
  readonly scope: Scope;
  readonly topic: string;
  /** Tells a topic from an earlier one of the same name. */
  readonly topicId: string;
  readonly partition: number;
}

/**
 * How an execution ended. `claimed`, in claim mode: it is in work, or was given up by who had it; in transaction mode there
 * is no state for that, an open transaction is it.
 */
export type ExecutionState = 'completed' | 'failed' | 'dead' | 'skipped' | 'claimed';

export interface OutboxRecord {
  /** UUIDv7; goes out as the record's `message-id`. */
  readonly id: string;
  readonly topic: string;
  readonly partition: number | null;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

/** A lane held under an epoch. */
export interface Fence {
  readonly lane: Lane;
  readonly epoch: bigint;
  /** Everything below is terminal: completed, failed, dead, parked or skipped. */
  readonly nextOffset: bigint;
  /**
   * Positions from `nextOffset` up to here may have rows: left by an owner that shared the lane, or by letters that it
   * parked. They are claimed like any other key. At least `nextOffset` when the fence was taken.
   */
  readonly rowsBelow: bigint;
  /**
   * Offsets of the lane that were claimed when the fence was taken: who identifies records by their position alone has to
   * claim these too, for an earlier owner in claim mode may have them in work. Absent: none.
   */
  readonly inWork?: readonly bigint[] | undefined;
  /** Not lower than the leader epoch of any record that the ledger knows of by its position. Absent: nobody knows. */
  readonly leaderEpoch?: number | undefined;
}

/** One record's wish to run. */
export interface ExecutionClaim {
  /** Encoded idempotency key, at most 513 bytes, see `messages/idempotency-key.ts`. */
  readonly key: Buffer;
  /** Digest of the record's key and value, to tell a repetition from a reuse. */
  readonly fingerprint: bigint;
  readonly offset: bigint;
}

/** An execution that is already in the ledger. */
export interface KnownExecution {
  readonly state: ExecutionState;
  readonly fingerprint: bigint;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** `claimed`: ours, run the handler. Otherwise what is there already. In the order of the claims. */
export type ClaimVerdict = 'claimed' | KnownExecution;
