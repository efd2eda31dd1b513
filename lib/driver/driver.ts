/**
 * The port to a Kafka client. NOT A PUBLIC API: it follows the needs of this library and changes without notice.
 *
 * A driver moves bytes and keeps the group protocol; it knows nothing of handlers, retries or Nest. Each
 * implementation passes `testing/contract/driver.contract.ts` unchanged.
 */
import type {
  KafkaRecord,
  OutgoingRecord,
  PartitionOffset,
  RecordMetadata,
  TopicPartition,
} from '../messages/record.js';

export interface KafkaDriver {
  /** For log lines: `kafkajs`, `in-memory`. */
  readonly name: string;
  createConsumer(options: DriverConsumerOptions): DriverConsumer;
  createReader(options: DriverReaderOptions): DriverReader;
  createProducer(options?: DriverProducerOptions): DriverProducer;
  createAdmin(): DriverAdmin;
  /** The client object behind the driver, handed to users by `unwrap()`. */
  readonly native: unknown;
}

/** How partitions are read, in a group or outside of any. */
export interface DriverReadOptions {
  /** Longest wait of one fetch for new records, ms. Default 5 000. Never delays a resume, a seek or a stop. */
  readonly maxWaitTime?: number | undefined;
  readonly minBytes?: number | undefined;
  readonly maxBytes?: number | undefined;
  readonly maxBytesPerPartition?: number | undefined;
  /** Milliseconds between metadata refreshes (new partitions, new topics for patterns). Default 300 000. */
  readonly metadataMaxAge?: number | undefined;
  readonly readUncommitted?: boolean | undefined;
  readonly rackId?: string | undefined;
  /** The driver's own consumer options as the user wrote them, for what has no name here. */
  readonly native?: unknown;
}

export interface DriverConsumerOptions extends DriverReadOptions {
  readonly groupId: string;
  /** Names must exist when `start` is called; patterns are matched again at every metadata refresh. */
  readonly topics: readonly (string | RegExp)[];
  /** Where a partition without a committed offset starts: its first record, or only what comes later. */
  readonly fromBeginning: boolean;
  /** Milliseconds without a heartbeat after which the broker gives a member up. Default 30 000. */
  readonly sessionTimeout?: number | undefined;
  /** Milliseconds the group waits for a member to rejoin in a rebalance. Default 60 000. */
  readonly rebalanceTimeout?: number | undefined;
  /** Milliseconds between heartbeats. Default 3 000. */
  readonly heartbeatInterval?: number | undefined;
  /** Preferred first. Default: round robin. */
  readonly assigners?: readonly GroupAssigner[] | undefined;
}

/** What a group's leader needs in order to hand out partitions, and each member in order to describe itself. */
export interface GroupAssigner {
  /** Protocol name: members of one group must share one. */
  readonly name: string;
  /** Called before each join. What this member tells the leader. */
  userData(topics: readonly string[]): Buffer | null;
  /**
   * Called on the leader only. `members` is everybody in the group, with undecoded and possibly foreign user data;
   * `partitions` lists each topic that any member subscribes to. Partitions that are left out stay unassigned.
   */
  assign(
    members: readonly AssignerMember[],
    partitions: ReadonlyMap<string, readonly number[]>,
  ): ReadonlyMap<string, readonly TopicPartition[]>;
  /** Called on each member with its own share, after each rebalance. */
  assigned?(partitions: readonly TopicPartition[]): void;
}

export interface AssignerMember {
  readonly memberId: string;
  /** The member's own subscription, which may differ from the leader's. */
  readonly topics: readonly string[];
  readonly userData: Buffer | null;
}

/** A partition for as long as this member holds it without interruption. */
export interface AssignedPartition extends TopicPartition {
  /** Outlives no deletion: a topic deleted and made anew under the same name has another id. */
  readonly topicId: string;
  /** Grows with every rebalance of this consumer; never reused within a process. */
  readonly rebalanceId: number;
  /**
   * Where reading starts: the committed offset, or what `fromBeginning` says. What a member committed in another topic
   * of this name, one that was deleted, does not count, whether or not any member lived to see the deletion; where the
   * cluster still has it, reading starts at the first record.
   */
  readonly startOffset: bigint;
}

/**
 * - `revoked`: still ours until the returned promise settles; commits are accepted until then.
 * - `lost`: already somebody else's; nothing may be committed.
 */
export type RevocationReason = 'revoked' | 'lost';

export type ConsumerStatus = 'connected' | 'disconnected' | 'rebalancing' | 'crashed' | 'stopped';

export interface ConsumerListener {
  /** Before the first record of any of them. Reading starts when the promise settles. */
  onAssigned(partitions: readonly AssignedPartition[]): Promise<void>;
  /** Before the member rejoins (or leaves); awaited for at most the rebalance timeout. No records during and after. */
  onRevoked(partitions: readonly AssignedPartition[], reason: RevocationReason): Promise<void>;
  /**
   * Hands records over, in offset order per partition, and must return at once. Fetching goes on regardless: whoever
   * holds too much pauses the partition. Records fetched before a seek or revocation took effect are dropped by the
   * driver; of those fetched before a pause none is handed over before `resume`.
   */
  onRecords(partition: AssignedPartition, records: readonly KafkaRecord[]): void;
  onStatus(status: ConsumerStatus, detail?: string): void;
  /**
   * What was to be read next does not exist (any more). Tells that reading goes on at `resumeAt`: behind `wanted` where
   * records in between were deleted (retention); before it where the log ends there, or where the partition's leader has
   * lost what an earlier one had: what it has from `resumeAt` on are other records, also if there are more than were lost.
   * A commit that was made before the loss is found out as well, if the brokers know the epochs of leaders.
   */
  onOffsetOutOfRange(partition: AssignedPartition, wanted: bigint, resumeAt: bigint): void;
}

export interface DriverConsumer {
  /**
   * Connects, joins, and resolves after the first `onAssigned` (which may be an empty assignment). Rejects, with
   * nothing left open, if the broker cannot be reached, refuses the credentials, or a named topic does not exist.
   * Afterwards it heals itself: connection losses, coordinator moves, evictions and errors lead to a rejoin with
   * backoff, never to a dead consumer.
   */
  start(listener: ConsumerListener): Promise<void>;
  /** Revokes everything (awaited), leaves the group and disconnects. Idempotent; tolerates never-started. */
  stop(): Promise<void>;
  /**
   * Takes effect at once, also for records already fetched. Survives nothing: a rebalance starts unpaused. Like `resume`
   * and `seek` it works from within `onAssigned` on, and leaves partitions alone that are not held.
   */
  pause(partitions: readonly TopicPartition[]): void;
  /** Takes effect within one network round trip. */
  resume(partitions: readonly TopicPartition[]): void;
  /** The next record handed over is the first at or after `offset`. */
  seek(position: PartitionOffset): void;
  /**
   * Stores offsets for the group under the current generation. Rejects with `StaleMemberError` if this member's
   * generation is over or it does not hold one of the partitions (nothing was stored), with a retryable error on
   * connection trouble (unknown). They count in the topics that were assigned, not in others made under their names since.
   */
  commit(offsets: readonly PartitionOffset[]): Promise<void>;
  /** Sends a heartbeat now. Rejects like `commit`. */
  heartbeat(): Promise<void>;
  /**
   * Asks the coordinator under this member's id and generation whether it is still a member. `false` also starts the
   * rejoin. Rejects with a retryable error if the coordinator can't be asked.
   */
  confirmMembership(): Promise<boolean>;
  /**
   * Asks the partition's leader where records of this leader epoch, and of earlier ones, end in its log; `undefined` if it
   * can't tell. Rejects with a retryable error if it can't be asked now.
   */
  endOfEpoch(partition: TopicPartition, leaderEpoch: number): Promise<bigint | undefined>;
  /**
   * What the coordinator calls us, from its first answer on and through rebalances; another one after an expulsion.
   * `undefined` while it knows nothing of us.
   */
  readonly memberId: string | undefined;
  /** Who we are in the group; `undefined` before the first join. */
  readonly membership: GroupMembership | undefined;
  /** What `KafkaContext.getConsumer()` returns: an object with the shape of the driver's own consumer. */
  readonly native: unknown;
}

export interface DriverReaderOptions extends DriverReadOptions {
  /** Of the partitions to be read. They must exist when `start` is called. */
  readonly topics: readonly string[];
}

/** As those of a consumer; `rebalanceId` means nothing. */
export interface ReaderListener extends Pick<
  ConsumerListener,
  'onRecords' | 'onStatus' | 'onOffsetOutOfRange'
> {
  /**
   * All below `nextOffset` that is to be read has been handed over: the marks of transactions, and what was compacted
   * away, are no records.
   */
  onPassed?(partition: AssignedPartition, nextOffset: bigint): void;
}

/** Reads the partitions that it is told to, outside any group: no rebalance interrupts it, and nothing is committed. */
export interface DriverReader {
  /**
   * Connects. Rejects, with nothing left open, as `DriverConsumer.start` does; afterwards it heals itself. Nothing is read
   * before `read`.
   */
  start(listener: ReaderListener): Promise<void>;
  /** Ends all reading and disconnects. Idempotent; tolerates never-started. */
  stop(): Promise<void>;
  /**
   * Reads a partition from its present end on, and resolves when that is known: whatever is produced afterwards is
   * handed over. One that is read already goes on as it is. A topic that is deleted and made anew is read from its first
   * record. Tries for as long as no broker can tell the end; rejects with `ConnectionClosedError` after `stop`.
   *
   * @param from an offset to begin at instead, or behind it where its record is gone (`onOffsetOutOfRange` tells).
   */
  read(partition: TopicPartition, from?: bigint): Promise<void>;
  /** Hands nothing of it over any more. One that is not read is fine. */
  drop(partition: TopicPartition): void;
}

export interface GroupMembership {
  readonly groupId: string;
  readonly memberId: string;
  readonly generationId: number;
}

export interface DriverProducerOptions {
  /** `-1` all in-sync replicas (default), `1` leader only, `0` none. */
  readonly acks?: -1 | 0 | 1 | undefined;
  /** Milliseconds the broker may take. Default 30 000. */
  readonly timeout?: number | undefined;
  /** The driver's compression type as the user gave it. */
  readonly compression?: number | undefined;
  /** The driver's own producer options as the user wrote them. */
  readonly native?: unknown;
}

export interface DriverProducer {
  connect(): Promise<void>;
  /**
   * Resolves when the broker has acknowledged this record, whatever becomes of others. Sends of one event-loop turn
   * share a request per broker; order is kept per partition. Rejects with `ProduceError` (which record of whom is in
   * the message, its bytes are not); a partition that does not exist is an error, never a silent drop.
   */
  send(record: OutgoingRecord): Promise<RecordMetadata>;
  /** Resolves when all are acknowledged; rejects with the first failure. */
  sendAll(records: readonly OutgoingRecord[]): Promise<RecordMetadata[]>;
  /** Waits for what was sent, then disconnects. Idempotent; tolerates never-connected. */
  disconnect(): Promise<void>;
  onStatus(listener: (status: 'connected' | 'disconnected') => void): void;
  readonly native: unknown;
}

export interface TopicSpecification {
  readonly topic: string;
  /** Default: the broker's. */
  readonly partitions?: number | undefined;
  readonly replicationFactor?: number | undefined;
  readonly configEntries?: readonly { name: string; value: string }[] | undefined;
}

export interface TopicDescription {
  readonly topic: string;
  readonly topicId: string;
  readonly partitions: readonly number[];
}

export interface DriverAdmin {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** Creates what is missing; a topic that exists is fine. Resolves when every one of them has leaders. */
  createTopics(topics: readonly TopicSpecification[]): Promise<void>;
  deleteTopics(topics: readonly string[]): Promise<void>;
  /** `count` is the new total. */
  createPartitions(topic: string, count: number): Promise<void>;
  /** Without a list: all topics. Missing ones are left out, and never created by asking. */
  describeTopics(topics?: readonly string[]): Promise<TopicDescription[]>;
  /**
   * How long brokers keep the records of topics at least, ms; `Infinity` where age alone deletes none. Topics that are
   * missing, and those whose settings this user may not read, are left out.
   */
  retentions(topics: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** First and next offset of each partition. */
  watermarks(topic: string): Promise<{ partition: number; low: bigint; high: bigint }[]>;
  /** Committed offsets; `-1n` where there is none. */
  committed(groupId: string, topic: string): Promise<PartitionOffset[]>;
  /** Sets committed offsets of a group without members. */
  setCommitted(groupId: string, offsets: readonly PartitionOffset[]): Promise<void>;
  deleteGroup(groupId: string): Promise<void>;
  /** Has the coordinator drop a member, whoever asks. Resolves with whether it was there. */
  removeMember(groupId: string, memberId: string): Promise<boolean>;
  /** Whom the coordinator counts among a group's members now. Of a group that is not there: nobody. */
  memberIds(groupId: string): Promise<readonly string[]>;
}
