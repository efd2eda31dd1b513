import { randomBytes } from 'node:crypto';
import kafkajs, { type Kafka } from 'kafkajs';
import pg from 'pg';
import { lastValueFrom, toArray } from 'rxjs';
import type { DriverAdmin, DriverProducer } from '../../../lib/driver/driver.js';
import { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import type { RecordMetadata } from '../../../lib/messages/record.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { ClientKafkaProxy } from '../../../lib/transport/client-kafka.proxy.js';
import type { Guard } from '../../../sample/servers/guard.js';
import type { ServiceSettings, ServiceTopics, Work } from '../children/service-settings.js';
import { reaches } from '../../support/reaches.js';
import { ServiceProcess } from './service-process.js';

export interface WorldOptions {
  readonly guard: Guard;
  readonly brokers: readonly string[];
  readonly databaseUrl: string;
  /** As the services connect, where that is another way than the test's own. */
  readonly serviceDatabaseUrl?: string;
  /** Of the topic of events. Default 2. */
  readonly partitions?: number;
  /** What services are started with, and invariants judge by. Default `partition`. */
  readonly ordering?: 'partition' | 'key';
  /** Creates schemas and topics, but no caller for requests. */
  readonly withoutCaller?: boolean;
}

export interface Event extends Work {
  readonly partition?: number;
  /** Of the record. Default: `id`. */
  readonly key?: string;
  /** Default: `id` for half of the events; the rest goes by position. `null` for none. */
  readonly idempotencyKey?: string | null;
}

/** Topics, schemas and a consumer group of one scenario, the services that work there, and a caller. */
export class CrashWorld {
  readonly topics: ServiceTopics & { readonly replies: string };
  readonly groupId: string;
  private readonly callerGroupId: string;
  readonly ledgerSchema: string;
  readonly effectSchema: string;
  readonly kafka: Kafka;
  readonly pool: pg.Pool;
  readonly services: ServiceProcess[] = [];
  private readonly driver: KafkajsDriver;
  readonly admin: DriverAdmin;
  private readonly producer: DriverProducer;
  private readonly client: ClientKafkaProxy;
  private published = 0;

  private constructor(private readonly options: WorldOptions) {
    const name = `crash-${randomBytes(4).toString('hex')}`;
    const brokers = [...options.brokers];
    this.topics = {
      events: `${name}.events`,
      requests: `${name}.requests`,
      out: `${name}.out`,
      replies: `${name}.requests.reply`,
    };
    this.groupId = name;
    this.callerGroupId = `${name}-caller`;
    this.ledgerSchema = `${name.replace('-', '_')}_ledger`;
    this.effectSchema = `${name.replace('-', '_')}_effects`;
    this.kafka = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING });
    this.pool = new pg.Pool({ connectionString: options.databaseUrl, max: 2 });
    // Tests stop servers and end connections on purpose.
    this.pool.on('error', () => undefined);
    this.driver = new KafkajsDriver({ brokers }, systemClock, silentLog);
    this.admin = this.driver.createAdmin();
    this.producer = this.driver.createProducer();
    this.client = new ClientKafkaProxy({
      driver: this.driver,
      consumer: { groupId: this.callerGroupId },
      postfixId: '',
      requestTimeout: 100_000,
    });
  }

  static async create(options: WorldOptions): Promise<CrashWorld> {
    const world = new CrashWorld(options);
    const { topics, effectSchema: schema } = world;
    try {
      await world.admin.createTopics([
        { topic: topics.events, partitions: options.partitions ?? 2 },
        { topic: topics.requests, partitions: 2 },
        { topic: topics.out, partitions: 2 },
        { topic: topics.replies, partitions: 1 },
      ]);
      await world.pool.query(`
        create schema ${schema};
        create table ${schema}.effect (
          seq bigint generated always as identity, id text, nonce text, instance text, topic text, partition int,
          record_offset bigint, at timestamptz default clock_timestamp()
        );
        create table ${schema}.call (id text)`);
      await world.producer.connect();
      if (!options.withoutCaller) {
        world.client.subscribeToResponseOf(topics.requests);
        await world.client.connect();
      }
      return world;
    } catch (error) {
      await world.dispose();
      throw error;
    }
  }

  get ordering(): 'partition' | 'key' {
    return this.options.ordering ?? 'partition';
  }

  /** Starts a service; see `ServiceProcess.ready`. */
  start(instance: string, settings: Partial<ServiceSettings> = {}): ServiceProcess {
    const { brokers, databaseUrl, serviceDatabaseUrl = databaseUrl, guard } = this.options;
    const service = new ServiceProcess(
      {
        instance,
        brokers,
        databaseUrl: serviceDatabaseUrl,
        groupId: this.groupId,
        topics: this.topics,
        ledgerSchema: this.ledgerSchema,
        effectSchema: this.effectSchema,
        sessionTimeout: 6_000,
        maxRecords: 8,
        attempts: 10,
        handlerMillis: 0,
        ordering: this.ordering,
        ...settings,
      },
      guard,
    );
    this.services.push(service);
    return service;
  }

  publish(events: readonly Event[]): Promise<RecordMetadata[]> {
    return this.producer.sendAll(
      events.map(({ partition, key: recordKey, idempotencyKey, ...work }) => {
        const number = this.published++;
        // In blocks, so that partitions taken in turn get both kinds.
        const key = idempotencyKey === undefined && number % 8 < 4 ? work.id : idempotencyKey;
        return {
          topic: this.topics.events,
          partition,
          key: Buffer.from(recordKey ?? work.id),
          value: Buffer.from(JSON.stringify(work)),
          headers: key ? [['idempotency-key', Buffer.from(key)] as const] : [],
        };
      }),
    );
  }

  /** Resolves with all that the caller got. */
  request(work: Work): Promise<unknown[]> {
    const message = { key: work.id, value: { ...work }, headers: { 'idempotency-key': work.id } };
    return lastValueFrom(this.client.send<unknown>(this.topics.requests, message).pipe(toArray()));
  }

  async query<Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<Row[]> {
    const text = sql.replaceAll('{effects}', this.effectSchema).replaceAll('{ledger}', this.ledgerSchema);
    return (await this.pool.query<Row>(text, values)).rows;
  }

  /** Has nobody else get at a table until `during` has ended. */
  async locking(table: string, during: () => Promise<void>): Promise<void> {
    const client = await this.pool.connect();
    try {
      const name = table.replaceAll('{effects}', this.effectSchema).replaceAll('{ledger}', this.ledgerSchema);
      await client.query(`begin; lock table ${name} in access exclusive mode`);
      await during();
    } finally {
      // Its end is the transaction's.
      client.release(true);
    }
  }

  async count(where = 'true'): Promise<number> {
    const [row] = await this.query<{ n: number }>(
      `select count(*)::int as n from {effects}.effect where ${where}`,
    );
    return row!.n;
  }

  /** Records that the group has not committed, in `events` and `requests`. */
  async lag(): Promise<number> {
    let lag = 0n;
    for (const topic of [this.topics.events, this.topics.requests]) {
      const committed = await this.committed(topic);
      for (const { partition, high } of await this.admin.watermarks(topic)) {
        lag += high - (committed.get(partition) ?? 0n);
      }
    }
    return Number(lag);
  }

  async committed(topic: string): Promise<Map<number, bigint>> {
    const offsets = await this.admin.committed(this.groupId, topic);
    return new Map(
      offsets.map(({ partition, offset }) => [partition, offset > 0n ? offset : 0n] as [number, bigint]),
    );
  }

  /** Has the group, which is not at work, read the first partition of a topic again from there. */
  async setBack(topic: string, offset: bigint): Promise<void> {
    await this.admin.setCommitted(this.groupId, [{ topic, partition: 0, offset }]);
  }

  /** Resolves when the broker has all offsets of the group at the end of its topics. */
  async settled(): Promise<void> {
    try {
      await reaches(0, () => this.lag());
    } catch (cause) {
      const services = this.services.filter(({ running }) => running).map((service) => service.describe());
      throw new Error(`The group's lag stays. ${services.join('\n')}`, { cause });
    }
  }

  /** Ends what runs and drops what there is. */
  async dispose(): Promise<void> {
    await Promise.all(this.services.map((service) => service.kill()));
    const steps = [
      () => this.client.close(),
      () => this.producer.disconnect(),
      () => this.pool.query(`drop schema if exists ${this.effectSchema}, ${this.ledgerSchema} cascade`),
      () => this.pool.end(),
      () => this.deleteGroup(this.groupId),
      () => this.deleteGroup(this.callerGroupId),
      () => this.admin.deleteTopics(Object.values(this.topics)),
      () => this.admin.disconnect(),
    ];
    // A scenario that failed must not keep the others from being put away.
    for (const step of steps) await step().catch(() => undefined);
  }

  /** With the members that were killed: the broker takes them for living until their session timeout. */
  private async deleteGroup(groupId: string): Promise<void> {
    const admin = this.kafka.admin();
    await admin.connect();
    try {
      const { groups } = await admin.describeGroups([groupId]);
      for (const { memberId } of groups[0]?.members ?? []) await this.admin.removeMember(groupId, memberId);
      await this.admin.deleteGroup(groupId);
    } finally {
      await admin.disconnect();
    }
  }
}
