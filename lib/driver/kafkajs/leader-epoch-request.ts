import type { TopicPartition } from '../../messages/record.js';
import { byTopic } from './offset-requests.js';
import { defineRequest } from './request.js';

export interface EpochEnd extends TopicPartition {
  readonly errorCode: number;
  /** The next offset after the records of the epoch that was asked for, and of those before; -1n if there is no telling. */
  readonly endOffset: bigint;
}

/** Where records of a leader epoch end in the log of the present leader, which answers under `currentEpoch` only. */
export const OFFSET_FOR_LEADER_EPOCH = defineRequest<
  { partitions: readonly (TopicPartition & { readonly currentEpoch: number; readonly epoch: number })[] },
  EpochEnd[]
>({
  name: 'OffsetForLeaderEpoch',
  apiKey: 23,
  // Earlier ones want a right that only brokers have.
  versions: [3],
  write(writer, { partitions }) {
    writer.int32(-1); // replica_id
    writer.array(byTopic(partitions), ([topic, ofTopic]) => {
      writer.string(topic).array(ofTopic, ({ partition, currentEpoch, epoch }) => {
        writer.int32(partition).int32(currentEpoch).int32(epoch);
      });
    });
  },
  read(reader) {
    reader.int32(); // throttle_time_ms
    return reader
      .array(() => {
        const topic = reader.string() ?? '';
        return reader.array(() => {
          const errorCode = reader.int16();
          const partition = reader.int32();
          reader.int32(); // leader_epoch: the last one at or before the one that was asked for
          return { topic, partition, errorCode, endOffset: reader.int64() };
        });
      })
      .flat();
  },
});
