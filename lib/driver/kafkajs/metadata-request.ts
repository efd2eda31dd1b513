import type { NodeAddress } from './node-address.js';
import { defineRequest } from './request.js';
import { NO_TOPIC_ID } from './wire.js';

export interface PartitionMetadata {
  readonly partition: number;
  /** -1 while there is none. */
  readonly leader: number;
  /** Above those of all leaders before; -1 where brokers tell none. */
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly inSyncReplicas: readonly number[];
}

export interface TopicMetadata {
  readonly topic: string;
  /** All zeros before Kafka 2.8. */
  readonly topicId: string;
  readonly errorCode: number;
  readonly isInternal: boolean;
  /** Sorted. */
  readonly partitions: readonly PartitionMetadata[];
}

export interface ClusterMetadata {
  readonly nodes: readonly NodeAddress[];
  readonly controllerId: number;
  readonly clusterId: string | undefined;
  readonly topics: ReadonlyMap<string, TopicMetadata>;
}

/** By hand, since kafkajs speaks versions up to 6 and topic ids came with 10. */
export const METADATA = defineRequest<{ topics: readonly string[] | null; create: boolean }, ClusterMetadata>(
  {
    name: 'Metadata',
    apiKey: 3,
    versions: [12, 11, 10, 7, 6, 5],
    flexibleFrom: 9,
    write(writer, { topics, create }, version) {
      if (version >= 10) {
        const topic = (name: string) => writer.uuid(NO_TOPIC_ID).compactString(name).noTags();
        if (topics === null) writer.unsignedVarint(0);
        else writer.compactArray(topics, topic);
      } else if (topics === null) writer.int32(-1);
      else writer.array(topics, (name) => writer.string(name));
      writer.int8(create ? 1 : 0); // allow_auto_topic_creation
      if (version === 10) writer.int8(0); // include_cluster_authorized_operations
      if (version >= 10) writer.int8(0).noTags(); // include_topic_authorized_operations
    },
    read(reader, version) {
      const flexible = version >= 10;
      const string = () => (flexible ? reader.compactString() : reader.string());
      const list = <T>(read: () => T) => (flexible ? reader.compactArray(read) : reader.array(read));
      const tags = () => flexible && reader.tags();

      reader.int32(); // throttle_time_ms
      const nodes = list(() => {
        const node = { nodeId: reader.int32(), host: string() ?? '', port: reader.int32() };
        string(); // rack
        tags();
        return node;
      });
      const clusterId = string() ?? undefined;
      const controllerId = reader.int32();
      const topics = new Map<string, TopicMetadata>();
      list(() => {
        const errorCode = reader.int16();
        const topic = string() ?? '';
        const topicId = flexible ? reader.uuid() : NO_TOPIC_ID;
        const isInternal = reader.int8() !== 0;
        const partitions = list(() => {
          reader.int16(); // error_code: a missing leader says it as well
          const partition = reader.int32();
          const leader = reader.int32();
          const leaderEpoch = version >= 7 ? reader.int32() : -1;
          const replicas = list(() => reader.int32());
          const inSyncReplicas = list(() => reader.int32());
          list(() => reader.int32()); // offline_replicas
          tags();
          return { partition, leader, leaderEpoch, replicas, inSyncReplicas };
        });
        if (flexible) reader.int32(); // topic_authorized_operations
        tags();
        partitions.sort((a, b) => a.partition - b.partition);
        topics.set(topic, { topic, topicId, errorCode, isInternal, partitions });
      });
      return { nodes, controllerId, clusterId, topics };
    },
  },
);
