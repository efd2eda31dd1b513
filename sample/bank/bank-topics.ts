import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin, Kafka, TopicPartitionOffset } from 'kafkajs';
import { createTopics } from '../servers/create-topics.js';
import { waitFor } from '../servers/wait-for.js';
import type { Names } from './names.js';

/** Committed offsets of the transfers' partitions, by partition. */
export type Offsets = ReadonlyMap<number, number>;

/** The topics and the consumer group of one service, seen from outside. */
export class BankTopics {
  private readonly admin: Admin;

  constructor(
    private readonly kafka: Kafka,
    private readonly names: Names,
  ) {
    this.admin = kafka.admin();
  }

  connect(): Promise<void> {
    return this.admin.connect();
  }

  disconnect(): Promise<void> {
    return this.admin.disconnect();
  }

  async create(): Promise<void> {
    const { transferRequested, transferBooked, balanceGet, balanceReply } = this.names.topics;
    await createTopics(this.admin, [
      { topic: transferRequested, numPartitions: 12 },
      { topic: transferBooked, numPartitions: 3 },
      { topic: balanceGet, numPartitions: 3 },
      { topic: balanceReply, numPartitions: 1 },
    ]);
  }

  /** Removes every topic of this service, also those that the library has made under the same suffix. */
  async delete(): Promise<void> {
    const all = await this.admin.listTopics();
    const topics = all.filter((topic) => topic.includes(this.names.suffix));
    if (topics.length > 0) await this.admin.deleteTopics({ topics });
    // Groups that still have members lose their offsets with the topics, and vanish by themselves.
    const { groupId, group } = this.names;
    await this.admin.deleteGroups([group, `${groupId}-requester-client`]).catch(() => undefined);
  }

  /** Records of both of the service's topics that the group has not committed yet. */
  async lag(): Promise<number> {
    const topics = this.consumed;
    const [committed, ends] = await Promise.all([
      this.admin.fetchOffsets({ groupId: this.names.group, topics }),
      Promise.all(topics.map((topic) => this.admin.fetchTopicOffsets(topic))),
    ]);
    let lag = 0;
    topics.forEach((topic, index) => {
      const own = committed.find((entry) => entry.topic === topic)?.partitions ?? [];
      for (const { partition, high } of ends[index]!) {
        const offset = Number(own.find((entry) => entry.partition === partition)?.offset ?? 0);
        lag += Number(high) - Math.max(0, offset);
      }
    });
    return lag;
  }

  /** Sets the group back to offset 0 and returns how far it had come with the transfers. All members must have left. */
  async rewind(): Promise<Offsets> {
    const { group, topics } = this.names;
    await waitFor(
      async () => {
        const { groups } = await this.admin.describeGroups([group]);
        if (groups[0]?.state !== 'Empty') throw new Error(`it is ${groups[0]?.state}`);
      },
      { what: `The group ${group} was not empty`, timeoutMs: 30_000 },
    );
    const before = await this.admin.fetchOffsets({ groupId: group, topics: this.consumed });
    await this.commit(
      before.flatMap(({ topic, partitions }) =>
        partitions.map(({ partition }) => ({ topic, partition, offset: '0' })),
      ),
    );
    const transfers = before.find(({ topic }) => topic === topics.transferRequested)?.partitions ?? [];
    return new Map(transfers.map(({ partition, offset }) => [partition, Math.max(0, Number(offset))]));
  }

  /** As a member that joins, commits and leaves; the admin client's own way of doing so takes 5 s for each topic. */
  private async commit(offsets: TopicPartitionOffset[]): Promise<void> {
    const consumer = this.kafka.consumer({ groupId: this.names.group, maxWaitTimeInMs: 100 });
    const joined = new Promise<void>((resolve) => consumer.on(consumer.events.GROUP_JOIN, () => resolve()));
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: this.consumed, fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: () => Promise.resolve(),
      });
      await joined;
      await consumer.commitOffsets(offsets);
    } finally {
      await consumer.disconnect();
    }
  }

  /** Next offset of each partition. */
  async ends(topic: string): Promise<Offsets> {
    const offsets = await this.admin.fetchTopicOffsets(topic);
    return new Map(offsets.map(({ partition, high }) => [partition, Number(high)]));
  }

  private get consumed(): string[] {
    return [this.names.topics.transferRequested, this.names.topics.balanceGet];
  }
}

/** A record as the count needs it. */
export interface ReadRecord {
  readonly partition: number;
  readonly offset: number;
  readonly value: unknown;
  readonly messageId: string | undefined;
}

/** Reads a topic from its first to its last record. */
export async function readTopic(kafka: Kafka, topic: string, ends: Offsets): Promise<ReadRecord[]> {
  const consumer = kafka.consumer({ groupId: `${topic}-count`, maxWaitTimeInMs: 100 });
  const missing = new Set([...ends].filter(([, end]) => end > 0).map(([partition]) => partition));
  const records: ReadRecord[] = [];
  if (missing.size === 0) return records;
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: ({ batch }) => {
        if (!missing.has(batch.partition)) return Promise.resolve();
        for (const { offset, value, headers } of batch.messages) {
          records.push({
            partition: batch.partition,
            offset: Number(offset),
            value: JSON.parse(String(value)) as unknown,
            messageId: headers?.['message-id']?.toString(),
          });
        }
        if (Number(batch.lastOffset()) + 1 >= ends.get(batch.partition)!) missing.delete(batch.partition);
        return Promise.resolve();
      },
    });
    const deadline = performance.now() + 60_000;
    while (missing.size > 0) {
      if (performance.now() > deadline) throw new Error(`${topic} could not be read to its end within 60 s.`);
      await sleep(20);
    }
    return records;
  } finally {
    await consumer.disconnect();
  }
}
