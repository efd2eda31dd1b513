import { IdempotencyKeyError, KeyReusedError } from '../errors/errors.js';
import { KafkaTransportError } from '../errors/kafka-transport.error.js';
import { describeKey, fingerprint, positionKey, type IdempotencyKey } from '../messages/idempotency-key.js';
import type { KafkaRecord } from '../messages/record.js';
import type { FenceHolder } from './fence-registry.js';
import type { ExecutionClaim, Fence, KnownExecution, Lane, Release } from './ledger.js';

/** One handler's part in a group: the records it may run for, in the group's order. */
export interface LaneWork {
  readonly lane: Lane;
  readonly holder: FenceHolder;
  /** Other groups are at work in the lane at the same time. */
  readonly isShared: boolean;
  readonly records: readonly KafkaRecord[];
  readonly kind: (record: KafkaRecord) => 'event' | 'request';
  /** @throws IdempotencyKeyError */
  readonly keyOf: (record: KafkaRecord) => IdempotencyKey;
}

/** A record's place in the ledger, within one group. */
export interface Execution {
  readonly record: KafkaRecord;
  readonly fence: Fence;
  readonly key: IdempotencyKey;
  readonly claim: ExecutionClaim;
  /** An earlier run of it may have left steps. */
  readonly resumed: boolean;
}

/** A record in its lane, and what became of its claim. */
export interface Entry {
  readonly record: KafkaRecord;
  readonly execution?: Execution;
  /** Why the record cannot run under its key. */
  readonly error?: unknown;
  /** Below the fence: whatever became of it, it is over. */
  readonly over?: boolean;
  known?: KnownExecution | undefined;
  repeats?: KafkaRecord | undefined;
  /** Handed out to be run; who comes second (one method, two patterns of one topic) repeats it. */
  running?: boolean;
}

export interface PreparedLane {
  readonly work: LaneWork;
  readonly fence: Fence;
  readonly entries: Map<KafkaRecord, Entry>;
  /** The transaction holds this lane. */
  readonly claimed: boolean;
}

/** Under which a record may have ended: its position if its key was the trouble, else the key. */
export function keysOf({ lane, keyOf }: LaneWork, record: KafkaRecord): Buffer[] {
  const position = positionKey(lane.topicId, record.partition, record.offset).encoded;
  try {
    return [position, keyOf(record).encoded];
  } catch (error) {
    if (error instanceof IdempotencyKeyError) return [position];
    throw error;
  }
}

export function entryOf(work: LaneWork, record: KafkaRecord, fence: Fence): Entry {
  if (record.offset < fence.nextOffset) return { record, over: true };
  try {
    const key = work.keyOf(record);
    const claim = { key: key.encoded, fingerprint: fingerprint(record), offset: record.offset };
    return { record, execution: { record, fence, key, claim, resumed: false } };
  } catch (error) {
    if (!(error instanceof KafkaTransportError)) throw error;
    return { record, error };
  }
}

export function repeat(entry: Entry, first: Entry): void {
  if (entry.execution!.claim.fingerprint === first.execution!.claim.fingerprint) {
    entry.repeats = first.record;
    return;
  }
  Object.assign(entry, {
    error: new KeyReusedError(
      `The idempotency key "${describeKey(entry.execution!.claim.key).slice(0, 80)}" is used by two records with ` +
        `different contents, at offsets ${first.record.offset} and ${entry.record.offset}`,
    ),
  });
}

/** Positions have rows only where the fence cannot tell what is done; anything else always has one. */
export function hasRow({ isShared }: LaneWork, { key, claim, fence }: Execution): boolean {
  return key.kind !== 'position' || isShared || claim.offset < fence.rowsBelow;
}

/** Above all of the lane's records. */
export function endOf({ records }: LaneWork): bigint {
  return records[records.length - 1]!.offset + 1n;
}

export interface Reached {
  /** `null` in a lane that is shared. */
  readonly nextOffset: bigint | null;
  readonly release: Release | undefined;
}

/** How far a lane came, and what it gives back of its claims. */
export function reached({ work, fence, entries }: PreparedLane, done: ReadonlySet<KafkaRecord>): Reached {
  const open = work.records.filter((record) => !done.has(record) && record.offset >= fence.nextOffset);
  if (open.length === 0) return { nextOffset: work.isShared ? null : endOf(work), release: undefined };
  const nextOffset = work.isShared ? null : open[0]!.offset;
  const keys = open.flatMap((record) => {
    const { execution, known, repeats, error } = entries.get(record)!;
    // The key of a repetition, or of a reuse, is the first one's: giving it back would undo that one.
    const own = execution && hasRow(work, execution) && !known && !repeats && !error;
    return own ? [execution.claim.key] : [];
  });
  return {
    nextOffset,
    release: nextOffset === null && keys.length === 0 ? undefined : { fence, keys, nextOffset },
  };
}
