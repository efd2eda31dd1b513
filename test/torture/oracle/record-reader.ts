import { randomUUID } from 'node:crypto';
import type { Admin, Kafka, KafkaMessage } from 'kafkajs';
import { until } from '../../crash/support/until.js';

export interface RawRecord {
  readonly topic: string;
  readonly partition: number;
  readonly message: KafkaMessage;
}

/** All that is in some topics now, bytes as they are, read by kafkajs' own consumer: nothing of the library is on the way. */
export async function readRecords(
  kafka: Kafka,
  admin: Admin,
  topics: readonly string[],
): Promise<RawRecord[]> {
  const missing = new Map<string, bigint>();
  for (const topic of topics) {
    for (const { partition, high, low } of await admin.fetchTopicOffsets(topic)) {
      if (BigInt(high) > BigInt(low)) missing.set(`${topic}/${partition}`, BigInt(high));
    }
  }
  if (missing.size === 0) return [];
  const records: RawRecord[] = [];
  const groupId = `torture-reader-${randomUUID()}`;
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, maxBytesPerPartition: 4_194_304 });
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: ({ batch: { topic, partition, messages } }) => {
        const name = `${topic}/${partition}`;
        const end = missing.get(name);
        for (const message of messages) {
          if (end !== undefined && BigInt(message.offset) < end) records.push({ topic, partition, message });
        }
        const last = messages.at(-1);
        if (last && BigInt(last.offset) + 1n >= (end ?? 0n)) missing.delete(name);
        return Promise.resolve();
      },
    });
    await until(`the end of ${topics.join(', ')}`, () => missing.size === 0, 120_000);
    return records;
  } finally {
    await consumer.disconnect();
    await admin.deleteGroups([groupId]).catch(() => undefined);
  }
}
