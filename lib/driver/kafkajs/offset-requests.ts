import type { PartitionOffset, TopicPartition } from '../../messages/record.js';
import type { GroupIdentity } from './group-requests.js';
import { check } from './protocol-error.js';
import { defineRequest } from './request.js';

export interface CommittedPartition extends PartitionOffset {
  /** At most 4096 bytes, unless the broker is set up otherwise. It keeps none as the empty string. */
  readonly metadata?: string | null | undefined;
  /** Not lower than that of any record before the offset; -1 if it is not known. */
  readonly leaderEpoch?: number | undefined;
}

export interface PartitionErrorCode extends TopicPartition {
  readonly errorCode: number;
}

/** One error code per partition: others are stored even if one is not. */
export const OFFSET_COMMIT = defineRequest<
  GroupIdentity & { offsets: readonly CommittedPartition[] },
  PartitionErrorCode[]
>({
  name: 'OffsetCommit',
  apiKey: 8,
  versions: [7, 6, 5, 4, 3, 2],
  write(writer, { groupId, generationId, memberId, offsets }, version) {
    writer.string(groupId).int32(generationId).string(memberId);
    if (version >= 7) writer.string(null); // group_instance_id
    if (version <= 4) writer.int64(-1n); // retention_time_ms: the broker's
    writer.array(byTopic(offsets), ([topic, partitions]) => {
      writer.string(topic).array(partitions, ({ partition, offset, metadata, leaderEpoch = -1 }) => {
        writer.int32(partition).int64(offset);
        if (version >= 6) writer.int32(leaderEpoch);
        writer.string(metadata ?? null);
      });
    });
  },
  read(reader, version) {
    if (version >= 3) reader.int32(); // throttle_time_ms
    return reader
      .array(() => {
        const topic = reader.string() ?? '';
        return reader.array(() => ({ topic, partition: reader.int32(), errorCode: reader.int16() }));
      })
      .flat();
  },
});

/** Committed offsets; -1n where there is none. */
export const OFFSET_FETCH = defineRequest<
  { groupId: string; partitions: readonly TopicPartition[] },
  CommittedPartition[]
>({
  name: 'OffsetFetch',
  apiKey: 9,
  versions: [5, 4, 3, 2, 1],
  write(writer, { groupId, partitions }) {
    writer.string(groupId).array(byTopic(partitions), ([topic, ofTopic]) => {
      writer.string(topic).array(ofTopic, ({ partition }) => writer.int32(partition));
    });
  },
  read(reader, version) {
    if (version >= 3) reader.int32(); // throttle_time_ms
    const offsets = reader.array(() => {
      const topic = reader.string() ?? '';
      return reader.array(() => {
        const partition = reader.int32();
        const offset = reader.int64();
        const leaderEpoch = version >= 5 ? reader.int32() : -1;
        const metadata = reader.string();
        check(reader.int16(), `OffsetFetch of ${topic}[${partition}]`);
        return { topic, partition, offset, metadata, leaderEpoch };
      });
    });
    if (version >= 2) check(reader.int16(), 'OffsetFetch');
    return offsets.flat();
  },
});

export const EARLIEST = -2n;
export const LATEST = -1n;

export interface ListedOffset extends PartitionOffset {
  readonly errorCode: number;
}

export const LIST_OFFSETS = defineRequest<
  { partitions: readonly TopicPartition[]; timestamp: bigint; readCommitted: boolean },
  ListedOffset[]
>({
  name: 'ListOffsets',
  apiKey: 2,
  versions: [5, 4, 3, 2, 1],
  write(writer, { partitions, timestamp, readCommitted }, version) {
    writer.int32(-1); // replica_id
    if (version >= 2) writer.int8(readCommitted ? 1 : 0);
    writer.array(byTopic(partitions), ([topic, ofTopic]) => {
      writer.string(topic).array(ofTopic, ({ partition }) => {
        writer.int32(partition);
        if (version >= 4) writer.int32(-1); // current_leader_epoch
        writer.int64(timestamp);
      });
    });
  },
  read(reader, version) {
    if (version >= 2) reader.int32(); // throttle_time_ms
    return reader
      .array(() => {
        const topic = reader.string() ?? '';
        return reader.array(() => {
          const partition = reader.int32();
          const errorCode = reader.int16();
          reader.int64(); // timestamp
          const offset = reader.int64();
          if (version >= 4) reader.int32(); // leader_epoch
          return { topic, partition, offset, errorCode };
        });
      })
      .flat();
  },
});

/** Requests nest partitions in topics. */
export function byTopic<T extends TopicPartition>(
  partitions: readonly T[],
): [topic: string, partitions: T[]][] {
  const topics = new Map<string, T[]>();
  for (const partition of partitions) {
    const ofTopic = topics.get(partition.topic);
    if (ofTopic) ofTopic.push(partition);
    else topics.set(partition.topic, [partition]);
  }
  return [...topics];
}
