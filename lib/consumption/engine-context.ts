import type { AssignedPartition } from '../driver/driver.js';
import type { EncodedReply } from '../messages/reply.js';
import type { KafkaRecord, TopicPartition } from '../messages/record.js';
import type { Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import type { Attempt, ReplyPublisher, Route } from './attempt.js';
import type { FailureClass } from './decision.js';
import type { Gate } from './gate.js';
import type { AfterCommit, Ending, EngineCounters, GroupHost } from './group.js';
import type { Parking } from './parking.js';
import type { ParkingPolicy } from './parking-policy.js';
import type { RetryPolicy } from './retry-policy.js';
import type { Semaphore } from './semaphore.js';
import type { Ordering } from './sequences.js';

/** When a group closes although more records wait. */
export interface GroupBounds {
  /** 1 is a transaction per record. */
  readonly maxRecords: number;
  readonly maxMillis: number;
  /**
   * Up to where `maxMillis` stretches while commits are slow: on a busy machine everything takes longer, and groups that
   * got smaller for it would make it busier still.
   */
  readonly stretchedMillis: number;
  /** Handlers of different sequences run at once within a group. */
  readonly concurrent: boolean;
}

/** Resolved options of the engine; times in milliseconds. */
export interface EngineOptions {
  /** Groups worked on at once: of one partition one, or several where its records have no order in all. */
  readonly concurrency: number;
  readonly ordering: Ordering;
  readonly groupCommit: GroupBounds;
  readonly retry: RetryPolicy;
  readonly onExhausted: 'dead-letter' | 'park' | 'block' | undefined;
  readonly parking: ParkingPolicy;
  readonly handlerTimeout: number | undefined;
  /** How long handlers may take to end when the consumer closes. */
  readonly shutdownTimeout: number;
  /** How long handlers may take to end before a rebalance. */
  readonly revocationTimeout: number;
  /** `false`: handlers commit offsets themselves. */
  readonly commitOffsets: boolean;
  /** Between two commits of offsets. */
  readonly commitInterval: number;
  /** Records done after which offsets are committed without waiting for the interval. */
  readonly commitThreshold: number;
  /** A partition is paused above these, resumed below half of them. Already at fewer records where these last (`ReadAhead`). */
  readonly maxHeldRecords: number;
  readonly maxHeldBytes: number;
  /**
   * As above, for the offsets from the first record that is not done to the last one read, most of which may be done:
   * what one stuck key makes a crash read again.
   */
  readonly maxUncommitted: number;
}

/** A partition whose log lost its end. Nothing of it is at work. */
export interface LostEnd {
  readonly group: string;
  readonly partition: AssignedPartition;
  /** What comes from here on are other records than those that were read. */
  readonly end: bigint;
  /** As `GroupHost.confirmMembership`. */
  confirm(): Promise<boolean>;
  readonly produce: GroupHost['produce'];
}

/** What the engine is given from above. */
export interface EnginePorts {
  readonly options: EngineOptions;
  readonly clock: Clock;
  readonly log: Log;
  readonly publish: ReplyPublisher;
  /** The handlers of a record, at least one. A promise, which never rejects, only where the record itself has to say. */
  route(record: KafkaRecord): readonly Route[] | Promise<readonly Route[]>;
  classify(error: unknown): FailureClass;
  /** The error reply for a failure that no exception filter has seen. */
  errorReply(error: unknown): EncodedReply;
  /** There is a dead-letter topic. */
  readonly hasDeadLetterTopic: boolean;
  /** Absent where nothing can be parked. */
  readonly parking?: Parking | undefined;
  readonly groupId: GroupHost['groupId'];
  /** Awaited when partitions were assigned, before they are read. Never rejects. */
  beforeReading(): Promise<void>;
  /** Awaited before a record is handled that came since; called again after a while if it rejects. */
  followLostEnd(lost: LostEnd): Promise<void>;
  readonly produce: GroupHost['produce'];
  readonly deadLetter: GroupHost['deadLetter'];
  /** What a dead letter's `dlt-reason` says about a terminal error. */
  reasonOf(error: unknown): string;
  /**
   * Called for a failed attempt that has no resource: enlists it, if its handler's attempts are enlisted in something and it
   * failed before that.
   */
  enlistLate?: ((attempt: Attempt) => void) | undefined;
  /** Writes an ending down where nothing is enlisted: publishes the dead letter, if it is one. */
  concludeWithoutResource(attempt: Attempt, ending: Ending): Promise<AfterCommit | undefined>;
}

/** What a processor shares with the others of its consumer. */
export interface EngineContext extends EnginePorts {
  readonly gate: Gate;
  readonly counters: { -readonly [Name in keyof EngineCounters]: number };
  /** One per group that may be worked on at once. */
  readonly slots: Semaphore;
  /** A record is done and acknowledged. */
  completed(): void;
  confirmMembership(): Promise<boolean>;
  readonly endOfEpoch: GroupHost['endOfEpoch'];
  /** Something could not be produced: closes the gate if the broker does not answer. */
  suspectBroker(error: unknown): void;
  readonly parkingPolicy: ParkingPolicy;
  pause(partition: TopicPartition): void;
  resume(partition: TopicPartition): void;
}
