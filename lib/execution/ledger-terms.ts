import type { RecordHeader } from '../messages/record.js';

export interface Scope {
  readonly group: string;
  readonly handler: string;
}

export interface Lane {
  readonly scope: Scope;
  readonly topic: string;
  /** Tells a topic from an earlier one of the same name. */
  readonly topicId: string;
  readonly partition: number;
}

/** How an execution ended. There is no state for "in work": an open transaction is that state. */
export type ExecutionState = 'completed' | 'failed' | 'dead' | 'skipped';

export interface OutboxRecord {
  /** UUIDv7; goes out as the record's `message-id`. */
  readonly id: string;
  readonly topic: string;
  readonly partition: number | null;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}
