import assert from 'node:assert/strict';
import type {
  DriverAdmin,
  DriverConsumerOptions,
  DriverProducer,
  DriverProducerOptions,
  DriverReader,
  DriverReaderOptions,
  KafkaDriver,
} from '../../driver/driver.js';
import type { OutgoingRecord, RecordHeader } from '../../messages/record.js';
import { systemClock } from '../../runtime/clock.js';
import { eventually, SOON_MS, within } from './eventually.js';
import { type ListenerHooks, RecordingConsumer } from './recording-consumer.js';

/** A driver to be tested, and what the port has no way to provoke. */
export interface DriverUnderTest {
  /** A driver of the cluster. Each call may return another one: tests take each for another process. */
  driver(): KafkaDriver;
  dispose(): Promise<void>;
  /** Has the cluster remove the records of a partition below `offset`. */
  truncate(topic: string, partition: number, offset: bigint): Promise<void>;
}

type ConsumerOptions = Partial<DriverConsumerOptions> & Pick<DriverConsumerOptions, 'topics'>;

// Brokers take no shorter session timeout than this unless they are configured to.
const SESSION_TIMEOUT_MS = 6000;

/** Clients, topics and groups of one test, all of them gone when it is over. */
export class DriverKit {
  readonly #undo: (() => Promise<void>)[] = [];
  readonly #consumers: RecordingConsumer[] = [];

  private constructor(
    readonly subject: DriverUnderTest,
    readonly admin: DriverAdmin,
  ) {}

  /** Runs one test and cleans up, whatever comes of it. */
  static async use(subject: DriverUnderTest, body: (kit: DriverKit) => Promise<void>): Promise<void> {
    try {
      const admin = subject.driver().createAdmin();
      await admin.connect();
      const kit = new DriverKit(subject, admin);
      try {
        await body(kit);
      } finally {
        await kit.#cleanUp();
        await admin.disconnect();
      }
      for (const { violations } of kit.#consumers) assert.deepEqual(violations, []);
    } finally {
      await subject.dispose();
    }
  }

  name(): string {
    return `contract-${systemClock.uuid()}`;
  }

  async topic(partitions = 1, topic = this.name()): Promise<string> {
    await this.admin.createTopics([{ topic, partitions }]);
    this.#undo.push(() => this.deleteTopic(topic));
    return topic;
  }

  async deleteTopic(topic: string): Promise<void> {
    if ((await this.admin.describeTopics([topic])).length > 0) await this.admin.deleteTopics([topic]);
  }

  /** Not started. From the beginning, in a group of its own, quick to notice changes, unless the options say otherwise. */
  consumer(options: ConsumerOptions, hooks?: ListenerHooks): RecordingConsumer {
    const consumer = new RecordingConsumer(
      this.subject.driver().createConsumer({
        groupId: this.name(),
        fromBeginning: true,
        sessionTimeout: SESSION_TIMEOUT_MS,
        heartbeatInterval: 300,
        maxWaitTime: 500,
        ...options,
      }),
      hooks,
    );
    this.#consumers.push(consumer);
    this.#undo.push(() => within('a consumer stops', consumer.stop(), SOON_MS));
    return consumer;
  }

  started(options: ConsumerOptions, hooks?: ListenerHooks): Promise<RecordingConsumer> {
    return this.consumer(options, hooks).start();
  }

  /** Not started. */
  reader(options: DriverReaderOptions): DriverReader {
    const reader = this.subject.driver().createReader(options);
    this.#undo.push(() => within('a reader stops', reader.stop(), SOON_MS));
    return reader;
  }

  async producer(options?: DriverProducerOptions): Promise<DriverProducer> {
    const producer = this.subject.driver().createProducer(options);
    this.#undo.push(() => producer.disconnect());
    await producer.connect();
    return producer;
  }

  /** Produces one record per value, in order. */
  async produce(topic: string, values: readonly string[], partition = 0): Promise<void> {
    const producer = await this.producer();
    await producer.sendAll(values.map((value) => outgoing({ topic, partition, value })));
  }

  /** Waits until these consumers hold all partitions of the topic between them, each by one. */
  async shared(topic: string, partitions: number, ...consumers: readonly RecordingConsumer[]): Promise<void> {
    const all = Array.from({ length: partitions }, (_, partition) => `${topic}[${partition}]`).sort();
    await eventually(`${consumers.length} members share ${partitions} partitions of ${topic}`, () => {
      const owned = consumers.flatMap((consumer) => consumer.owned);
      return consumers.every((consumer) => consumer.owned.length > 0) && String(owned.sort()) === String(all);
    });
  }

  // Last made, first undone: producers and consumers go before their topics.
  async #cleanUp(): Promise<void> {
    for (const undo of this.#undo.reverse()) await undo();
  }
}

export interface Text {
  readonly topic: string;
  readonly partition?: number;
  readonly key?: string;
  readonly value: string;
  readonly headers?: readonly RecordHeader[];
}

/** A record of text. */
export function outgoing({ topic, partition, key, value, headers = [] }: Text): OutgoingRecord {
  return {
    topic,
    partition,
    key: key === undefined ? null : Buffer.from(key),
    value: Buffer.from(value),
    headers,
  };
}

/** `prefix-0`, `prefix-1`, … */
export function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
}
