import { randomUUID } from 'node:crypto';
import type { Kafka } from 'kafkajs';
import { until } from './until.js';

export interface ReadRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: string;
  readonly value: string;
  /** As text; the last of a name. */
  readonly headers: Readonly<Record<string, string>>;
}

/** All that is in some topics now, read by kafkajs' own consumer: nothing of the library under test is on the way. */
export async function readTopics(kafka: Kafka, topics: readonly string[]): Promise<ReadRecord[]> {
  const admin = kafka.admin();
  const groupId = `reader-${randomUUID()}`;
  const missing = new Map<string, bigint>();
  await admin.connect();
  try {
    for (const topic of topics) {
      for (const { partition, high, low } of await admin.fetchTopicOffsets(topic)) {
        if (BigInt(high) > BigInt(low)) missing.set(`${topic}/${partition}`, BigInt(high));
      }
    }
    if (missing.size === 0) return [];
    const records: ReadRecord[] = [];
    const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
    await consumer.connect();
    try {
      await consumer.subscribe({ topics: [...topics], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatch: ({ batch: { topic, partition, messages } }) => {
          for (const { offset, key, value, headers } of messages) {
            records.push({
              topic,
              partition,
              offset: BigInt(offset),
              key: String(key),
              value: String(value),
              headers: textual(headers),
            });
          }
          const name = `${topic}/${partition}`;
          const last = messages[messages.length - 1];
          if (last && BigInt(last.offset) + 1n >= (missing.get(name) ?? 0n)) missing.delete(name);
          return Promise.resolve();
        },
      });
      await until(`the end of ${topics.join(', ')}`, () => missing.size === 0);
      return records;
    } finally {
      await consumer.disconnect();
      await admin.deleteGroups([groupId]).catch(() => undefined);
    }
  } finally {
    await admin.disconnect();
  }
}

function textual(headers: Record<string, unknown> = {}): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      String(Array.isArray(value) ? value.at(-1) : value),
    ]),
  );
}
