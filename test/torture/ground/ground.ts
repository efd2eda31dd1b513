import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import pg from 'pg';
import { createTopics } from '../../../sample/servers/create-topics.js';
import type { Guard } from '../../../sample/servers/guard.js';
import type { Servers } from '../../../sample/servers/index.js';
import { PrivateDatabase } from '../../crash/support/private-database.js';
import { until } from '../../crash/support/until.js';
import type { Options } from '../options.js';
import type { Told } from '../service/service-settings.js';
import type { TortureTopics } from '../work.js';
import { FaultyProxy } from './faulty-proxy.js';
import { Fleet } from './fleet.js';
import { Instance } from './instance.js';

export const SESSION_TIMEOUT = 6_000;
export const CONCURRENCY = 4;
export const POOL_SIZE = 6;
/** `groupCommit.maxRecords`. */
export const GROUP_RECORDS = 32;
export const ATTEMPTS = 6;
const PARTITIONS = { events: 6, requests: 4, out: 4, volatile: 2 } as const;
/** A busy broker may take its time to delete a topic, and to make one. */
const TOPIC_TIMEOUT = 120_000;
/** Each process is a caller too, and needs one of its own. */
const REPLY_PARTITIONS = 16;

export interface GroundOptions {
  readonly options: Options;
  readonly servers: Servers;
  readonly guard: Guard;
  /** Logs of the processes go here. */
  readonly folder: string;
  /** URL of the `index.js` of the build under test. */
  readonly library: string;
  readonly event: (line: string) => void;
  readonly onTold: (instance: string, told: Told) => void;
}

/** Where a run takes place: topics, group, database and processes of its own, on servers that may be others' too. */
export class Ground {
  readonly topics: TortureTopics;
  readonly groupId: string;
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly fleet: Fleet;
  /** As the server's own user: no fault concerns it. */
  readonly pool: pg.Pool;
  /** Partitions of the topic of events; faults add some. */
  partitions: number = PARTITIONS.events;
  /** How often the volatile topic was made. */
  wave = 1;

  private constructor(
    private readonly parts: GroundOptions,
    readonly database: PrivateDatabase,
  ) {
    const name = `torture-${randomBytes(4).toString('hex')}`;
    this.groupId = name;
    this.topics = {
      events: `${name}.events`,
      requests: `${name}.requests`,
      out: `${name}.out`,
      volatile: `${name}.volatile`,
    };
    this.kafka = new kafkajs.Kafka({
      clientId: 'supervisor',
      brokers: [...parts.servers.brokers],
      logLevel: kafkajs.logLevel.NOTHING,
      connectionTimeout: 2_000,
      // Brokers are killed on purpose: the load waits for them.
      retry: { retries: 60, initialRetryTime: 100, maxRetryTime: 1_000 },
    });
    this.admin = this.kafka.admin();
    this.pool = new pg.Pool({
      connectionString: database.ownerUrl,
      max: 4,
      connectionTimeoutMillis: 2_000,
      options: '-c default_transaction_read_only=off',
    });
    this.pool.on('error', () => undefined);
    this.fleet = new Fleet({
      size: parts.options.instances,
      create: (instance, clockSkew) => this.createInstance(instance, clockSkew),
      event: parts.event,
    });
  }

  static async open(parts: GroundOptions): Promise<Ground> {
    const database = await PrivateDatabase.create(parts.servers.databaseUrl);
    const ground = new Ground(parts, database);
    try {
      await ground.prepare();
      return ground;
    } catch (error) {
      await ground.dispose();
      throw error;
    }
  }

  get requestPartitions(): number {
    return PARTITIONS.requests;
  }

  get replyTopic(): string {
    return `${this.topics.requests}.reply`;
  }

  get deadLetterTopics(): string[] {
    const { events, requests, volatile } = this.topics;
    return [events, requests, volatile].map((topic) => `${topic}.dlt`);
  }

  get servers(): Servers {
    return this.parts.servers;
  }

  get folder(): string {
    return this.parts.folder;
  }

  /** Once it is there, handlers are well that were sick. */
  private get mendedFile(): string {
    return join(this.parts.folder, 'mended');
  }

  executionLog(instance: string): string {
    return join(this.parts.folder, `${instance}.executions`);
  }

  async createVolatileTopic(): Promise<void> {
    await this.createTopic(this.topics.volatile, PARTITIONS.volatile);
  }

  /** A deleted topic is gone some time after the request is answered. */
  async untilDeleted(topic: string): Promise<void> {
    await until(
      `${topic} to be gone`,
      async () => !(await this.admin.listTopics()).includes(topic),
      TOPIC_TIMEOUT,
    );
  }

  async createTopic(topic: string, partitions: number): Promise<void> {
    const replicationFactor = this.servers.brokers.length;
    await createTopics(this.admin, [{ topic, numPartitions: partitions, replicationFactor }], TOPIC_TIMEOUT);
  }

  async addPartitions(count: number): Promise<void> {
    await this.admin.createPartitions({
      topicPartitions: [{ topic: this.topics.events, count: this.partitions + count }],
    });
    this.partitions += count;
  }

  /** Of a group without members. */
  async rewind(): Promise<void> {
    const { events, requests, volatile } = this.topics;
    await this.untilEmpty();
    for (const topic of [events, requests, volatile]) {
      await this.persistently(`offsets of ${topic} to be set`, async () => {
        const partitions = (await this.admin.fetchTopicOffsets(topic)).map(({ partition }) => partition);
        await this.admin.setOffsets({
          groupId: this.groupId,
          topic,
          partitions: partitions.map((partition) => ({ partition, offset: '0' })),
        });
      });
    }
  }

  async deleteGroup(): Promise<void> {
    await this.untilEmpty();
    await this.persistently('the group to be deleted', () => this.admin.deleteGroups([this.groupId]));
  }

  /** Records that the group has not committed. */
  async lag(): Promise<number> {
    const { events, requests, volatile } = this.topics;
    let lag = 0;
    for (const topic of [events, requests, volatile]) {
      const [answer] = await this.admin.fetchOffsets({ groupId: this.groupId, topics: [topic] });
      const committed = new Map(
        answer!.partitions.map(({ partition, offset }) => [partition, Math.max(0, Number(offset))]),
      );
      for (const { partition, high, low } of await this.admin.fetchTopicOffsets(topic)) {
        lag += Math.max(0, Number(high) - Math.max(Number(low), committed.get(partition) ?? 0));
      }
    }
    return lag;
  }

  async effects(): Promise<number> {
    const { rows } = await this.pool.query<{ n: string }>('select count(*) as n from effect');
    return Number(rows[0]!.n);
  }

  /** In how many partitions of the events nobody had an effect after this instance. */
  async lastIn(instance: string): Promise<number> {
    const { rows } = await this.pool.query<{ n: string }>(
      `select count(*) as n from (
         select distinct on (partition) instance from effect where topic = $1 order by partition, seq desc) as last
       where instance = $2`,
      [this.topics.events, instance],
    );
    return Number(rows[0]!.n);
  }

  /** Records that wait in the ledger for another try. */
  async parked(): Promise<number> {
    const { rows } = await this.pool.query<{ n: string }>('select count(*) as n from ledger.parked_letters');
    return Number(rows[0]!.n);
  }

  async heal(): Promise<void> {
    const { servers, database, fleet } = this;
    if (servers.origin.kafka !== 'given') await servers.kafka.start();
    if (servers.origin.postgres !== 'given') await servers.postgres.start();
    await database.heal();
    for (const instance of fleet.running) {
      for (const proxy of [instance.database, ...instance.brokers]) proxy.heal();
      instance.order({ order: 'arm', point: undefined });
      instance.frozen = false;
      instance.signal('SIGCONT');
    }
    await fleet.complete();
    await writeFile(this.mendedFile, '');
  }

  /** Ends what runs and drops what there is, unless it is to be kept. */
  async dispose({ keep = false } = {}): Promise<void> {
    const { topics, admin, pool, database, groupId } = this;
    const all = [...Object.values(topics), this.replyTopic, ...this.deadLetterTopics];
    const steps = [
      () => this.fleet.close(),
      ...(keep
        ? []
        : [() => admin.deleteTopics({ topics: all, timeout: 5_000 }), () => admin.deleteGroups([groupId])]),
      () => admin.disconnect(),
      () => pool.end(),
      () => (keep ? database.leave() : database.drop()),
    ];
    // What can't be put away must not keep the rest from it.
    for (const step of steps) await step().catch(() => undefined);
  }

  private async prepare(): Promise<void> {
    const { topics, pool, database } = this;
    await mkdir(this.parts.folder, { recursive: true });
    await this.admin.connect();
    for (const [name, partitions] of Object.entries(PARTITIONS)) {
      await this.createTopic(topics[name as keyof TortureTopics], partitions);
    }
    await this.createTopic(this.replyTopic, REPLY_PARTITIONS);
    for (const topic of this.deadLetterTopics) await this.createTopic(topic, 1);
    // No constraint at all: whatever is written stays to be seen.
    await pool.query(`
      create table effect (
        seq bigint generated always as identity, handler text, id text, run text, key text, record_key text,
        instance text, topic text, wave int, partition int, record_offset bigint, at timestamptz default clock_timestamp()
      );
      grant insert on effect to ${database.name}`);
  }

  private async untilEmpty(): Promise<void> {
    await this.persistently('the group to be empty', async () => {
      const { groups } = await this.admin.describeGroups([this.groupId]);
      const members = groups[0]?.members.length ?? 0;
      if (members > 0) throw new Error(`it has ${members} members`);
    });
  }

  /** Other faults may have the broker down: tries until it works. */
  private async persistently(what: string, work: () => Promise<unknown>): Promise<void> {
    let last: unknown;
    await until(
      what,
      () =>
        work().then(
          () => true,
          (error: unknown) => {
            last = error;
            return false;
          },
        ),
      60_000,
      () => String(last),
    );
  }

  private async createInstance(name: string, clockSkew: number): Promise<Instance> {
    const { options, servers, guard, folder, onTold, library } = this.parts;
    const databaseUrl = new URL(this.database.url);
    const database = await FaultyProxy.start(target(databaseUrl.host, 5432));
    databaseUrl.host = `127.0.0.1:${database.port}`;
    const brokerProxies: Record<string, number> = {};
    const brokers: FaultyProxy[] = [];
    for (const broker of servers.brokers) {
      const proxy = await FaultyProxy.start(target(broker, 9092));
      brokers.push(proxy);
      brokerProxies[new URL(`kafka://${broker}`).port] = proxy.port;
    }
    return new Instance({
      database,
      brokers,
      guard,
      output: join(folder, `${name}.log`),
      onTold: (told) => onTold(name, told),
      settings: {
        instance: name,
        library,
        brokers: servers.brokers,
        brokerProxies,
        databaseUrl: databaseUrl.href,
        ledgerSchema: 'ledger',
        groupId: this.groupId,
        callerGroupId: `${this.groupId}-caller`,
        topics: this.topics,
        mode: options.mode,
        ordering: options.ordering,
        concurrent: options.concurrent,
        sessionTimeout: SESSION_TIMEOUT,
        concurrency: CONCURRENCY,
        poolSize: POOL_SIZE,
        groupRecords: GROUP_RECORDS,
        attempts: ATTEMPTS,
        parking: options.parking,
        mended: this.mendedFile,
        clockSkew,
        executionLog: this.executionLog(name),
      },
    });
  }
}

/** URL of the index of a build. */
export function libraryIndex(folder: string): string {
  return pathToFileURL(join(folder, 'index.js')).href;
}

function target(address: string, defaultPort: number): { host: string; port: number } {
  const url = new URL(`tcp://${address}`);
  return { host: url.hostname, port: Number(url.port) || defaultPort };
}
