import { randomBytes } from 'node:crypto';
import { Module, type INestMicroservice, type ModuleMetadata, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import pg from 'pg';
import { DurableModule, kafkaServer, type DurableModuleOptions } from '../../lib/index.js';
import type { TransactionClient } from '../../lib/postgres/transaction-client.js';
import {
  InMemoryKafka,
  type InMemoryKafkaOptions,
} from '../../lib/testing/in-memory-kafka/in-memory-kafka.js';
import type { KafkaRecord } from '../../lib/messages/record.js';
import type { KafkaTransportOptions } from '../../lib/transport/kafka-transport.options.js';
import { databaseUrl } from './ledger-schema.js';
import { reaches } from './reaches.js';
import { RecordingLogger } from './recording-logger.js';

export const GROUP = 'tests';
/** As the server names it: Nest's postfix comes behind. */
export const SERVER_GROUP = `${GROUP}-server`;

export interface DurableAppOptions extends Pick<ModuleMetadata, 'providers' | 'imports'> {
  readonly controllers: Type[];
  /** Of the server; `driver`, group and a quick retry are given. */
  readonly server?: KafkaTransportOptions;
  /** Of `DurableModule.forRoot`; connection and schema are given. `false`: without the module. */
  readonly durable?: Partial<DurableModuleOptions> | false;
}

/** A request as it arrives: who asked is in its headers. */
export interface RequestHeaders {
  readonly correlationId?: string;
  readonly idempotencyKey?: string;
}

export interface LedgerRow {
  readonly handler: string;
  readonly key: string;
  readonly key_kind: string;
  readonly state: string;
  readonly attempts: number;
  readonly error_name: string | null;
  readonly record_offset: string;
  readonly partition: number;
}

/** A cluster in memory, a schema in Postgres, and the applications of one test between them. */
export class DurableWorld {
  readonly schema = `durable_test_${randomBytes(5).toString('hex')}`;
  readonly pool = new pg.Pool({ connectionString: databaseUrl(), max: 3 });
  readonly log = new RecordingLogger();
  readonly kafka: InMemoryKafka;
  private readonly apps: { close(): Promise<void> }[] = [];

  private constructor(options: InMemoryKafkaOptions) {
    this.kafka = new InMemoryKafka(options);
    // Tests end connections on purpose.
    this.pool.on('error', () => undefined);
  }

  static async create(options: InMemoryKafkaOptions = {}): Promise<DurableWorld> {
    const world = new DurableWorld(options);
    await world.pool.query(
      `create schema "${world.schema}"; create table "${world.schema}".effect (seq bigserial, text text not null)`,
    );
    return world;
  }

  /** For `DurableModule.forRoot`. */
  get connection(): Pick<DurableModuleOptions, 'connection' | 'schema'> {
    return { connection: databaseUrl(), schema: this.schema };
  }

  serverOptions(options: KafkaTransportOptions = {}): KafkaTransportOptions {
    return {
      driver: this.kafka,
      subscribe: { fromBeginning: true },
      retry: { attempts: 3, initial: 1, max: 5 },
      ...options,
      consumer: { groupId: GROUP, ...options.consumer },
      run: { autoCommitInterval: 20, ...options.run },
    };
  }

  /** An application that listens. Closed by `dispose`. */
  async start(options: DurableAppOptions): Promise<INestMicroservice> {
    const app = await this.build(options);
    await app.listen();
    return app;
  }

  /** An application that does not listen yet. */
  async build({
    controllers,
    providers,
    imports,
    server,
    durable,
  }: DurableAppOptions): Promise<INestMicroservice> {
    const modules = durable === false ? [] : [DurableModule.forRoot({ ...this.connection, ...durable })];

    @Module({ imports: [...modules, ...(imports ?? [])], controllers, providers: providers ?? [] })
    class App {}

    const testing = await Test.createTestingModule({ imports: [App] })
      .setLogger(this.log)
      .compile();
    return this.closing(testing.createNestMicroservice(kafkaServer(this.serverOptions(server))));
  }

  closing<T extends { close(): Promise<void> }>(app: T): T {
    this.apps.push(app);
    return app;
  }

  /** What a handler writes through its transaction: an append-only log without a unique constraint. */
  async write(client: Pick<TransactionClient, 'query'>, text: string): Promise<void> {
    await client.query(`insert into "${this.schema}".effect (text) values ($1)`, [text]);
  }

  /** Committed effects, in the order of their writing. */
  async effects(): Promise<string[]> {
    const { rows } = await this.pool.query<{ text: string }>(
      `select text from "${this.schema}".effect order by seq`,
    );
    return rows.map(({ text }) => text);
  }

  async executions(): Promise<LedgerRow[]> {
    const { rows } = await this.pool.query<LedgerRow>(
      `select * from "${this.schema}".executions order by partition, record_offset, handler`,
    );
    return rows;
  }

  async query<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> {
    return (await this.pool.query<R>(text.replaceAll('{schema}', `"${this.schema}"`), values)).rows;
  }

  request(topic: string, value: unknown, { correlationId, idempotencyKey }: RequestHeaders = {}): void {
    const headers: Record<string, string> = {
      kafka_correlationId: correlationId ?? randomBytes(6).toString('hex'),
      kafka_replyTopic: `${topic}.reply`,
      kafka_replyPartition: '0',
    };
    if (idempotencyKey !== undefined) headers['idempotency-key'] = idempotencyKey;
    this.kafka.produce(topic, { value: JSON.stringify(value), headers });
  }

  replies(topic: string): KafkaRecord[] {
    return this.kafka.records(`${topic}.reply`);
  }

  /** Resolves when the group has committed all records of a topic. */
  consumed(topic: string): Promise<void> {
    return reaches(0n, () => this.lag(topic));
  }

  lag(topic: string): bigint {
    const ends = new Map<number, bigint>();
    for (const { partition, offset } of this.kafka.records(topic)) ends.set(partition, offset + 1n);
    let lag = 0n;
    for (const { partition, offset } of this.kafka.committed(SERVER_GROUP, topic)) {
      lag += (ends.get(partition) ?? 0n) - (offset < 0n ? 0n : offset);
    }
    return lag;
  }

  /** Closes the applications, has the group read a topic again from `offset`, and starts another application. */
  async rewind(topic: string, offset = 0n): Promise<void> {
    await this.closeAll();
    const admin = this.kafka.createAdmin();
    await admin.connect();
    await admin.setCommitted(
      SERVER_GROUP,
      this.kafka.committed(SERVER_GROUP, topic).map(({ partition }) => ({ topic, partition, offset })),
    );
    await admin.disconnect();
  }

  async closeAll(): Promise<void> {
    for (const app of this.apps.splice(0)) await app.close();
  }

  async dispose(): Promise<void> {
    await this.closeAll();
    await this.pool.query(`drop schema if exists "${this.schema}" cascade`);
    await this.pool.end();
  }
}

/** A header as text; `undefined` if it does not occur. */
export function headerText(record: KafkaRecord, name: string): string | undefined {
  return record.headers.find(([each]) => each === name)?.[1]?.toString('utf8');
}

export function valueOf(record: KafkaRecord): unknown {
  return record.value === null ? null : JSON.parse(record.value.toString('utf8'));
}
