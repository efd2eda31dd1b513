import type { TopicPartition } from '../../messages/record.js';
import { byTopic } from './offset-requests.js';
import { check } from './protocol-error.js';
import type { ProducerIdentity } from './record-batch-encoder.js';
import { defineRequest } from './request.js';

export interface ProduceInput {
  readonly acks: number;
  readonly timeout: number;
  readonly batches: readonly (TopicPartition & { readonly bytes: Buffer })[];
}

export interface ProducedPartition extends TopicPartition {
  readonly errorCode: number;
  readonly baseOffset: bigint;
}

/** One error code per partition. With `acks` 0 the broker does not answer, and nothing comes back. */
export const PRODUCE = defineRequest<ProduceInput, ProducedPartition[]>({
  name: 'Produce',
  apiKey: 0,
  versions: [7, 6, 5, 4, 3],
  timeout: ({ timeout }) => timeout + 5_000,
  expectsResponse: ({ acks }) => acks !== 0,
  write(writer, { acks, timeout, batches }) {
    writer.string(null).int16(acks).int32(timeout); // no transactional_id
    writer.array(byTopic(batches), ([topic, ofTopic]) => {
      writer.string(topic).array(ofTopic, ({ partition, bytes }) => writer.int32(partition).bytes32(bytes));
    });
  },
  read(reader, version, { acks }) {
    if (acks === 0) return [];
    return reader
      .array(() => {
        const topic = reader.string() ?? '';
        return reader.array(() => {
          const produced = {
            topic,
            partition: reader.int32(),
            errorCode: reader.int16(),
            baseOffset: reader.int64(),
          };
          reader.int64(); // log_append_time_ms
          if (version >= 5) reader.int64(); // log_start_offset
          return produced;
        });
      })
      .flat();
  },
});

/** A producer id of our own, under which the broker drops batches that it has already. */
export const INIT_PRODUCER_ID = defineRequest<Record<string, never>, ProducerIdentity>({
  name: 'InitProducerId',
  apiKey: 22,
  versions: [1, 0],
  write: (writer) => writer.string(null).int32(60_000), // no transactional_id
  read(reader) {
    reader.int32(); // throttle_time_ms
    check(reader.int16(), 'InitProducerId');
    return { producerId: reader.int64(), producerEpoch: reader.int16() };
  },
});
