import { IdempotencyKeyError, KeyReusedError } from '../errors/errors.js';
import { KafkaTransportError } from '../errors/kafka-transport.error.js';
import { describeKey, fingerprint, positionKey, type IdempotencyKey } from '../messages/idempotency-key.js';
import type { KafkaRecord } from '../messages/record.js';
import type { FenceHolder } from './fence-registry.js';
import type { ExecutionClaim, Fence, KnownExecution, Lane } from './ledger.js';
import type { ParkingQueue, PlaceInQueue } from './parking-queue.js';

/** One handler's part in a group: the records it may run for, in the group's order. */
export interface LaneWork {
  readonly lane: Lane;
  readonly holder: FenceHolder;
  /**
   * The fence stays: other groups are at work in the lane at the same time, or its one record is a letter, which says
   * nothing about those before it.
   */
  readonly isShared: boolean;
  readonly records: readonly KafkaRecord[];
  readonly kind: (record: KafkaRecord) => 'event' | 'request';
  /** Everything below `over` has ended. @throws IdempotencyKeyError */
  readonly keyOf: (record: KafkaRecord, over?: bigint) => IdempotencyKey;
  /** It was put back for another handler: there is nothing to do for this one. */
  readonly isForOther?: (record: KafkaRecord) => boolean;
  /** Its one record was parked, at the head of this sequence. */
  readonly letter?: Buffer | undefined;
  /** Most letters of a sequence. */
  readonly maxLetters: number;
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

/** What is known of a record within its group. */
export interface Entry {
  readonly record: KafkaRecord;
  execution?: Execution;
  /** Why the record cannot even be looked up. */
  readonly error?: unknown;
  /** Below the fence, or for another handler: whatever became of it, it is over. */
  readonly over?: boolean;
  /** It has to queue behind a parked one. */
  readonly parked?: PlaceInQueue | undefined;
  known?: KnownExecution | undefined;
  repeats?: KafkaRecord | undefined;
  /** Handed out to be run; who comes second (one method, two patterns of one topic) repeats it. */
  running?: boolean;
}

export interface PreparedLane {
  readonly work: LaneWork;
  readonly fence: Fence;
  readonly entries: ReadonlyMap<KafkaRecord, Readonly<Entry>>;
  /** Something of it was claimed, and its fence is to move. */
  readonly claimed: boolean;
  /** Some of its records queue behind parked ones. */
  readonly hasParked: boolean;
}

/** Positions have rows only where the fence cannot tell what is done; anything else always has one. */
export function hasRow({ isShared }: LaneWork, { key, claim, fence }: Execution): boolean {
  return key.kind !== 'position' || isShared || claim.offset < fence.rowsBelow;
}

/** Above all of the lane's records. */
export function endOf({ records }: LaneWork): bigint {
  return records[records.length - 1]!.offset + 1n;
}

/** How far a lane came (`null` if its fence stays), and the first records' executions that it leaves undone. */
export function reached({ work, fence, entries }: PreparedLane, done: ReadonlySet<KafkaRecord>) {
  const open = work.records.filter((record) => !done.has(record) && record.offset >= fence.nextOffset);
  const undone = open.flatMap((record) => {
    const { execution, known, repeats, error } = entries.get(record)!;
    // The key of a repetition, or of a reuse, is the first one's: giving it back would undo that one.
    return execution && !known && !repeats && !error ? [execution] : [];
  });
  const nextOffset = work.isShared ? null : (open[0]?.offset ?? endOf(work));
  return { isComplete: open.length === 0, nextOffset, undone };
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

/** @param queue of what is parked in the lane, if anything is. */
export function newEntry(
  work: LaneWork,
  record: KafkaRecord,
  fence: Fence,
  queue: ParkingQueue | undefined,
): Entry {
  if (!work.letter) {
    if (record.offset < fence.nextOffset || work.isForOther?.(record)) return { record, over: true };
    const parked = queue?.placeOf(record);
    if (parked) return { record, parked };
  }
  try {
    const key = work.keyOf(record, fence.nextOffset);
    const claim = { key: key.encoded, fingerprint: fingerprint(record), offset: record.offset };
    return { record, execution: { record, fence, key, claim, resumed: false } };
  } catch (error) {
    if (!(error instanceof KafkaTransportError)) throw error;
    return { record, error };
  }
}

/** Two records under one key: the later one is the same message again, or another one that must not have it. */
export function repeat(entry: Entry, first: Entry): void {
  const isSame = entry.execution!.claim.fingerprint === first.execution!.claim.fingerprint;
  if (isSame) return void (entry.repeats = first.record);
  // Whose key it is, is for the ledger to say: the later one's may have been handled.
  if (first.known) return void (entry.known = first.known);
  Object.assign(entry, {
    error: new KeyReusedError(
      `The idempotency key "${describeKey(entry.execution!.claim.key).slice(0, 80)}" is used by two records with ` +
        `different contents, at offsets ${first.record.offset} and ${entry.record.offset}`,
    ),
  });
}
