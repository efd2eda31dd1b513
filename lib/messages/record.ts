/** One header as Kafka stores it. A name may occur many times; `null` is a header without a value. */
export type RecordHeader = readonly [name: string, value: Buffer | null];

/** What Kafka stores, decoded from the wire and nothing more. */
export interface KafkaRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Milliseconds since the epoch, as the producer or the broker stamped it. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  /** `null` is a tombstone. */
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
  /** Of the partition leader that appended it: never lower than that of the record before. Absent where nobody knows. */
  readonly leaderEpoch?: number | undefined;
}

/** A record to be produced. */
export interface OutgoingRecord {
  readonly topic: string;
  /** Without it the producer's partitioner chooses, by key. */
  readonly partition?: number | undefined;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
  /** Milliseconds since the epoch; default now. */
  readonly timestamp?: number | undefined;
}

/** Where the broker put a produced record. */
export interface RecordMetadata {
  readonly topic: string;
  readonly partition: number;
  /** -1n where the broker was not asked for an acknowledgement (`acks: 0`). */
  readonly offset: bigint;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface PartitionOffset extends TopicPartition {
  /** For commits: the next offset to read, one past the last that is done. */
  readonly offset: bigint;
}

/** `topic[partition]`, for map keys and log lines. */
export function partitionName({ topic, partition }: TopicPartition): string {
  return `${topic}[${partition}]`;
}

/** The last value of a header, as Kafka's own clients read it; `undefined` if it does not occur. */
export function headerValue(headers: readonly RecordHeader[], name: string): Buffer | null | undefined {
  for (let index = headers.length - 1; index >= 0; index--) {
    if (headers[index]![0] === name) return headers[index]![1];
  }
  return undefined;
}
