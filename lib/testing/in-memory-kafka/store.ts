import { ProduceError } from '../../errors/errors.js';
import type { OutgoingRecord, RecordMetadata } from '../../messages/record.js';
import type { Cluster } from './cluster.js';
import { recordBytes } from './partition-log.js';
import type { Partitioner } from './partitioner.js';
import { isTopicName, type Topic } from './topic-store.js';

/** Appends a record as the broker does, creating its topic if the cluster may. @throws ProduceError */
export function store(cluster: Cluster, record: OutgoingRecord, partitioner: Partitioner): RecordMetadata {
  const topic = topicOf(cluster, record.topic);
  const partition = record.partition ?? partitioner.choose(topic.name, record.key, topic.partitions.length);
  const log = topic.partitions[partition];
  if (!log) {
    throw new ProduceError(
      `Topic "${topic.name}" has no partition ${partition}, only ${topic.partitions.length} in all`,
    );
  }
  const bytes = recordBytes(record);
  const { maxRecordBytes } = cluster.options;
  if (bytes > maxRecordBytes) {
    throw new ProduceError(
      `A record of ${bytes} bytes for topic "${topic.name}" is larger than the broker takes (${maxRecordBytes})`,
    );
  }
  const offset = log.append(record, cluster.broker.clock.now());
  cluster.topics.changed(topic.name);
  return { topic: topic.name, partition, offset };
}

function topicOf(cluster: Cluster, name: string): Topic {
  const topic = cluster.topics.get(name);
  if (topic) return topic;
  if (!isTopicName(name)) throw new ProduceError(`"${name}" is not a name that Kafka allows for a topic`);
  if (cluster.options.autoCreateTopics) return cluster.topics.create(name);
  throw new ProduceError(
    `Topic "${name}" does not exist and is not to be created by producing to it. Create it first.`,
  );
}
