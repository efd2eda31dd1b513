import { randomBytes } from 'node:crypto';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import pg from 'pg';
import { KafkajsDriver } from '../../lib/driver/kafkajs/kafkajs-driver.js';
import { createTopics } from '../../sample/servers/create-topics.js';
import type { ConsumerListener, DriverProducer } from '../../lib/driver/driver.js';
import type { KafkaRecord, OutgoingRecord } from '../../lib/messages/record.js';
import { systemClock } from '../../lib/runtime/clock.js';
import { silentLog } from '../../lib/runtime/log.js';
import { databaseUrl } from './ledger-schema.js';
import { eventually } from './eventually.js';

export function brokers(): string[] {
  const list = process.env['KAFKA_BROKERS'];
  if (!list) throw new Error('Set KAFKA_BROKERS to a Kafka cluster that tests may use');
  return list.split(',');
}

/** Topics, groups and schemas of one spec on the real servers, everything gone after `dispose`. */
export class BrokerFixture {
  readonly id = randomBytes(4).toString('hex');
  readonly kafka: Kafka = new kafkajs.Kafka({
    clientId: 'transport-tests',
    brokers: brokers(),
    logLevel: kafkajs.logLevel.NOTHING,
  });
  readonly driver = new KafkajsDriver(
    { clientId: 'transport-tests', brokers: brokers() },
    systemClock,
    silentLog,
  );
  private readonly admin: Admin = this.kafka.admin();
  private readonly producer: DriverProducer = this.driver.createProducer();
  private readonly topics = new Set<string>();
  private readonly groups = new Set<string>();
  private readonly schemas = new Set<string>();
  private readonly endings: (() => Promise<unknown>)[] = [];
  private names = 0;

  async connect(): Promise<this> {
    await Promise.all([this.admin.connect(), this.producer.connect()]);
    return this;
  }

  /** A name of this fixture's own. It need not exist: whatever is there under it is deleted in the end. */
  topicName(name = 'topic'): string {
    const topic = `tt-${name}-${this.id}-${++this.names}`;
    for (const suffix of ['', '.reply', '.dlt']) this.topics.add(topic + suffix);
    return topic;
  }

  /** Creates a topic, and its reply topic on demand. */
  async topic(
    name?: string,
    options: { partitions?: number; config?: Record<string, string>; reply?: boolean } = {},
  ): Promise<string> {
    const topic = this.topicName(name);
    await this.create([topic, ...(options.reply ? [`${topic}.reply`] : [])], options);
    return topic;
  }

  async create(
    topics: readonly string[],
    { partitions = 1, config = {} }: { partitions?: number; config?: Record<string, string> } = {},
  ): Promise<void> {
    for (const topic of topics) this.topics.add(topic);
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
    await createTopics(
      this.admin,
      topics.map((topic) => ({ topic, numPartitions: partitions, replicationFactor: 1, configEntries })),
    );
  }

  /** For `consumer.groupId`; the group that Nest makes of it, on either side, is deleted in the end. */
  group(name = 'group'): string {
    const group = `tt-${name}-${this.id}-${++this.names}`;
    for (const postfix of ['-server', '-client']) this.groups.add(group + postfix);
    return group;
  }

  schema(): string {
    const schema = `tt_${this.id}_${++this.names}`;
    this.schemas.add(schema);
    return schema;
  }

  /** Exact bytes, in the order given. */
  async produce(...records: OutgoingRecord[]): Promise<void> {
    await this.producer.sendAll(records);
  }

  /** The offset that a group has committed in partition 0; -1 for none. */
  async committed(group: string, topic: string): Promise<number> {
    const [answer] = await this.admin.fetchOffsets({ groupId: `${group}-server`, topics: [topic] });
    return Number(answer?.partitions.find(({ partition }) => partition === 0)?.offset ?? -1);
  }

  async members(group: string): Promise<number> {
    const { groups } = await this.admin.describeGroups([group]);
    return groups[0]?.members.length ?? 0;
  }

  async end(topic: string): Promise<number> {
    const offsets = await this.admin.fetchTopicOffsets(topic);
    return offsets.reduce((sum, { high }) => sum + Number(high), 0);
  }

  /** All records of a topic as of now, bytes as they are; none if it does not exist. */
  async read(topic: string): Promise<KafkaRecord[]> {
    const records: KafkaRecord[] = [];
    if (!(await this.admin.listTopics()).includes(topic)) return records;
    const wanted = await this.end(topic);
    if (wanted === 0) return records;
    const groupId = `tt-reader-${this.id}-${++this.names}`;
    this.groups.add(groupId);
    const consumer = this.driver.createConsumer({
      groupId,
      topics: [topic],
      fromBeginning: true,
      maxWaitTime: 100,
    });
    const listener: ConsumerListener = {
      onAssigned: () => Promise.resolve(),
      onRevoked: () => Promise.resolve(),
      onRecords: (_, fetched) => records.push(...fetched),
      onStatus: () => undefined,
      onOffsetOutOfRange: () => undefined,
    };
    await consumer.start(listener);
    await eventually(() => records.length >= wanted);
    await consumer.stop();
    return records;
  }

  /** Has `end` called by `dispose`, before topics go away; the last one first. */
  closing<T extends { close(): Promise<unknown> }>(closable: T): T {
    this.endings.push(() => closable.close());
    return closable;
  }

  async dispose(): Promise<void> {
    for (const end of this.endings.reverse()) await end();
    await this.producer.disconnect();
    for (const group of this.groups) await this.admin.deleteGroups([group]).catch(() => undefined);
    const existing = new Set(await this.admin.listTopics());
    await this.admin.deleteTopics({ topics: [...this.topics].filter((topic) => existing.has(topic)) });
    await this.admin.disconnect();
    if (this.schemas.size === 0) return;
    const client = new pg.Client({ connectionString: databaseUrl() });
    await client.connect();
    for (const schema of this.schemas) await client.query(`drop schema if exists "${schema}" cascade`);
    await client.end();
  }
}

/** A header's bytes as text; `undefined` if it does not occur. */
export function headerOf({ headers }: KafkaRecord, name: string): string | undefined {
  return headers.find(([each]) => each === name)?.[1]?.toString('utf8');
}
