import kafkajs, { type ICustomPartitioner, type PartitionMetadata as KafkajsPartition } from 'kafkajs';
import type { OutgoingRecord } from '../../messages/record.js';
import type { PartitionMetadata } from './metadata-request.js';

/** The partition for a record: its own if it names one, else the partitioner's choice. */
export type PartitionChooser = (record: OutgoingRecord, partitions: readonly PartitionMetadata[]) => number;

/** @param createPartitioner of the user; default kafkajs' `DefaultPartitioner`: by key (murmur2), else in turn. */
export function createPartitionChooser(createPartitioner: ICustomPartitioner | undefined): PartitionChooser {
  const partitioner = (createPartitioner ?? kafkajs.Partitioners.DefaultPartitioner)();
  const converted = new WeakMap<readonly PartitionMetadata[], KafkajsPartition[]>();
  return (record, partitions) => {
    if (record.partition !== undefined) return record.partition;
    let partitionMetadata = converted.get(partitions);
    if (!partitionMetadata) converted.set(partitions, (partitionMetadata = partitions.map(toKafkajs)));
    const { topic, key, value, headers } = record;
    return partitioner({ topic, partitionMetadata, message: { key, value, headers: headersOf(headers) } });
  };
}

function toKafkajs({ partition, leader, replicas, inSyncReplicas }: PartitionMetadata): KafkajsPartition {
  return {
    partitionErrorCode: 0,
    partitionId: partition,
    leader,
    replicas: [...replicas],
    isr: [...inSyncReplicas],
    offlineReplicas: [],
  };
}

function headersOf(headers: OutgoingRecord['headers']): Record<string, Buffer> {
  const object: Record<string, Buffer> = Object.create(null);
  for (const [name, value] of headers) if (value) object[name] = value;
  return object;
}
