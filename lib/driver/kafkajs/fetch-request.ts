import type { TopicPartition } from '../../messages/record.js';
import { byTopic } from './offset-requests.js';
import type { AbortedTransaction } from './record-batch.js';
import { check } from './protocol-error.js';
import { defineRequest } from './request.js';
import { NO_TOPIC_ID, type WireReader, type WireWriter } from './wire.js';

export interface FetchedPartitionRequest extends TopicPartition {
  readonly topicId: string;
  readonly offset: bigint;
  /** The leader refuses if its own is another; -1 for any. */
  readonly leaderEpoch: number;
  readonly maxBytes: number;
}

export interface FetchInput {
  readonly partitions: readonly FetchedPartitionRequest[];
  readonly maxWaitTime: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly readCommitted: boolean;
  readonly rackId: string;
}

export interface FetchedPartition extends TopicPartition {
  readonly errorCode: number;
  /** The next offset after the last record; -1n if unknown. */
  readonly highWatermark: bigint;
  readonly aborted: readonly AbortedTransaction[];
  /** A closer replica to fetch from; -1 for none. */
  readonly preferredReadReplica: number;
  /** Undecoded batches; a view of the response. */
  readonly records: Buffer | null;
}

/** Version 13 names topics by id, so that a topic made anew under the same name is an error, not other records. */
const BY_TOPIC_ID = 13;
const FORGET_NOTHING = 0;

export const FETCH = defineRequest<FetchInput, FetchedPartition[]>({
  name: 'Fetch',
  apiKey: 1,
  versions: [BY_TOPIC_ID, 11, 10, 9, 8, 7, 6, 5, 4],
  flexibleFrom: 12,
  usable: (version, { partitions }) =>
    version < BY_TOPIC_ID || partitions.every(({ topicId }) => topicId !== NO_TOPIC_ID),
  timeout: ({ maxWaitTime }) => maxWaitTime + 5_000,
  write(writer, input, version) {
    writer.int32(-1).int32(input.maxWaitTime).int32(input.minBytes).int32(input.maxBytes);
    writer.int8(input.readCommitted ? 1 : 0);
    if (version >= 7) writer.int32(0).int32(-1); // no fetch session
    if (version >= BY_TOPIC_ID) writeByTopicId(writer, input);
    else writeByName(writer, input, version);
  },
  read(reader, version, { partitions }) {
    reader.int32(); // throttle_time_ms
    if (version >= 7) {
      check(reader.int16(), 'Fetch');
      reader.int32(); // session_id
    }
    if (version < BY_TOPIC_ID) return readByName(reader, version);
    const names = new Map(partitions.map(({ topicId, topic }) => [topicId, topic]));
    return reader
      .compactArray(() => {
        const topic = names.get(reader.uuid()) ?? '';
        const fetched = reader.compactArray(() => readPartition(reader, topic));
        reader.tags();
        return fetched;
      })
      .flat();
  },
});

function writeByTopicId(writer: WireWriter, { partitions, rackId }: FetchInput): void {
  writer.compactArray(byTopic(partitions), ([, ofTopic]) => {
    writer.uuid(ofTopic[0]!.topicId);
    writer.compactArray(ofTopic, ({ partition, leaderEpoch, offset, maxBytes }) => {
      writer.int32(partition).int32(leaderEpoch).int64(offset);
      writer.int32(-1).int64(-1n).int32(maxBytes).noTags(); // last_fetched_epoch, log_start_offset
    });
    writer.noTags();
  });
  writer
    .unsignedVarint(FORGET_NOTHING + 1)
    .compactString(rackId)
    .noTags();
}

function writeByName(writer: WireWriter, { partitions, rackId }: FetchInput, version: number): void {
  writer.array(byTopic(partitions), ([topic, ofTopic]) => {
    writer.string(topic).array(ofTopic, ({ partition, leaderEpoch, offset, maxBytes }) => {
      writer.int32(partition);
      if (version >= 9) writer.int32(leaderEpoch);
      writer.int64(offset);
      if (version >= 5) writer.int64(-1n); // log_start_offset
      writer.int32(maxBytes);
    });
  });
  if (version >= 7) writer.int32(FORGET_NOTHING);
  if (version >= 11) writer.string(rackId);
}

function readPartition(reader: WireReader, topic: string): FetchedPartition {
  const partition = reader.int32();
  const errorCode = reader.int16();
  const highWatermark = reader.int64();
  reader.int64(); // last_stable_offset
  reader.int64(); // log_start_offset
  const aborted = reader.compactArray(() => {
    const transaction = { producerId: reader.int64(), firstOffset: reader.int64() };
    reader.tags();
    return transaction;
  });
  const preferredReadReplica = reader.int32();
  const records = reader.compactBytes();
  reader.tags();
  return { topic, partition, errorCode, highWatermark, aborted, preferredReadReplica, records };
}

function readByName(reader: WireReader, version: number): FetchedPartition[] {
  return reader
    .array(() => {
      const topic = reader.string() ?? '';
      return reader.array(() => {
        const partition = reader.int32();
        const errorCode = reader.int16();
        const highWatermark = reader.int64();
        reader.int64(); // last_stable_offset
        if (version >= 5) reader.int64(); // log_start_offset
        const aborted = reader.array(() => ({ producerId: reader.int64(), firstOffset: reader.int64() }));
        const preferredReadReplica = version >= 11 ? reader.int32() : -1;
        const records = reader.bytes32();
        return { topic, partition, errorCode, highWatermark, aborted, preferredReadReplica, records };
      });
    })
    .flat();
}
