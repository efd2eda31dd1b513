import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin, type Kafka, type Producer } from 'kafkajs';
import pg from 'pg';
import { createTopics } from '../../sample/servers/create-topics.js';
import type { Guard } from '../../sample/servers/guard.js';
import { systemClock } from '../../lib/runtime/clock.js';
import { CommittedEffects } from './committed-effects.js';
import type { Order } from './subjects/effects.js';
import { until } from './waiting.js';

const CUSTOMERS = 1_000;
const BATCH = 2_000;
const BATCH_BYTES = 512 * 1024;
/** How long statistics may take to be complete, and how old what Postgres shows of them may be (up to 14: half a second). */
const SETTLE_MS = 15_000;
const REPORT_MS = 700;

export interface BedOptions {
  readonly brokers: readonly string[];
  readonly databaseUrl: string;
  readonly guard: Guard;
  readonly logFolder: string;
}

/** What a run has for itself, so that nothing of an earlier one is in its way. */
export interface Place {
  readonly topic: string;
  readonly groupId: string;
  readonly schema: string;
  readonly ownSchema: string;
  /** All topics that were made for it. */
  readonly topics: readonly string[];
}

export interface Cost {
  /** Place in the WAL, as Postgres writes it, and in bytes from its beginning. */
  readonly lsn: string;
  readonly wal: bigint;
  /** Of the handlers' own statement; undefined if the server does not tell. */
  readonly handlers: { readonly statements: number; readonly wal: number } | undefined;
}

export interface Effect {
  readonly effects: number;
  readonly distinct: number;
}

/** Where runs take place: servers, a database of the benchmark's own, and fresh names in both. */
export class Bed {
  private readonly name = `bench_${randomBytes(3).toString('hex')}`;
  private readonly server: pg.Pool;
  private readonly kafka: Kafka;
  private readonly admin: Admin;
  readonly producer: Producer;
  /** Of the benchmark's own database. */
  readonly databaseUrl: string;
  readonly pool: pg.Pool;
  private places = 0;

  private constructor(readonly options: BedOptions) {
    const url = new URL(options.databaseUrl);
    url.pathname = this.name;
    this.databaseUrl = url.href;
    this.server = new pg.Pool({ connectionString: options.databaseUrl, max: 1 });
    this.pool = new pg.Pool({ connectionString: this.databaseUrl, max: 3, application_name: this.name });
    this.pool.on('error', () => undefined); // ended together with the database
    this.kafka = new kafkajs.Kafka({ brokers: [...options.brokers], logLevel: kafkajs.logLevel.NOTHING });
    this.admin = this.kafka.admin();
    this.producer = this.kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  }

  static async open(options: BedOptions): Promise<Bed> {
    const bed = new Bed(options);
    await bed.server.query(`create database ${bed.name}`);
    await bed.admin.connect();
    await bed.producer.connect();
    return bed;
  }

  get brokers(): readonly string[] {
    return this.options.brokers;
  }

  /** A topic, a group's name and a schema that nobody has used. */
  async place(partitions = 12, reply = false): Promise<Place> {
    const name = `${this.name}_${++this.places}`;
    const topic = `${name}.orders`;
    const topics = [{ topic, numPartitions: partitions, replicationFactor: 1 }];
    if (reply) topics.push({ topic: `${topic}.reply`, numPartitions: 1, replicationFactor: 1 });
    await createTopics(this.admin, topics);
    await this.pool.query(`
      create schema ${name};
      create table ${name}.effect (
        id bigint not null, customer text not null, cents int not null, instance text not null,
        partition int not null, at timestamptz not null default clock_timestamp()
      );
      create table ${name}.inbox (id uuid primary key);
      create table ${name}.progress (partition int primary key, next_offset bigint not null)`);
    return {
      topic,
      groupId: name,
      schema: name,
      ownSchema: `${name}_own`,
      topics: topics.map((made) => made.topic),
    };
  }

  /** Removes what a run has left, and waits until the servers have nothing to do with it any more. */
  async leave(place: Place): Promise<void> {
    await this.admin.deleteTopics({ topics: [...place.topics] });
    await this.pool.query(`drop schema if exists ${place.schema}, ${place.ownSchema} cascade`);
    await this.checkpoint();
    await sleep(300);
  }

  /** Has the server write to its disk what it has in memory: it would otherwise do so during what is measured next. */
  async checkpoint(): Promise<void> {
    await this.pool.query('checkpoint').catch(() => undefined); // not everybody may ask for one
  }

  /** Fills the partitions evenly with orders numbered from `first`, of `valueBytes` each. */
  async fill(
    place: Place,
    count: number,
    {
      partitions = 12,
      valueBytes = 300,
      first = 1,
      asRequests = false,
    }: { partitions?: number; valueBytes?: number; first?: number; asRequests?: boolean } = {},
  ): Promise<void> {
    const step = Math.max(1, Math.min(BATCH, Math.floor(BATCH_BYTES / valueBytes)));
    for (let from = 0; from < count; from += step) {
      const messages = Array.from({ length: Math.min(step, count - from) }, (_, index) =>
        this.message(first + from + index, partitions, valueBytes),
      );
      if (asRequests) for (const message of messages) Object.assign(message.headers, requestHeaders(place));
      await this.producer.send({ topic: place.topic, messages });
    }
  }

  /** A record as `ClientKafkaProxy` sends it: with an id of its own in a header. */
  message(id: number, partitions: number, valueBytes = 300) {
    return {
      key: customerOf(id),
      partition: id % partitions,
      value: JSON.stringify(orderOf(id, valueBytes)),
      headers: { 'message-id': systemClock.uuid() },
    };
  }

  /** Sets a stopped group back to the beginning of its topic. */
  async rewind({ groupId, topic }: Place): Promise<void> {
    await this.admin.resetOffsets({ groupId, topic, earliest: true });
  }

  async count({ schema }: Place, where = 'true'): Promise<Effect> {
    const { rows } = await this.pool.query<Effect>(
      `select count(*)::int as effects, count(distinct id)::int as distinct from ${schema}.effect where ${where}`,
    );
    return rows[0]!;
  }

  /** Seconds from the effect after the first `skip` to the last one, and how many there are between. */
  async span({ schema }: Place, skip: number): Promise<{ seconds: number; effects: number }> {
    const { rows } = await this.pool.query<{ seconds: number; effects: number }>(
      `select extract(epoch from max(at) - min(at))::float8 as seconds, (count(*) - 1)::int as effects
         from (select at from ${schema}.effect order by at offset $1) as measured`,
      [skip],
    );
    return rows[0]!;
  }

  /** The database's clock, which stamps effects. */
  async now(): Promise<string> {
    const { rows } = await this.pool.query<{ now: string }>('select clock_timestamp()::text as now');
    return rows[0]!.now;
  }

  /** From now on the database tells of each effect when it has committed. */
  async effectsAsTheyCommit({ schema }: Place): Promise<CommittedEffects> {
    await this.pool.query(`
      create function ${schema}.tell() returns trigger language plpgsql as $$
        begin perform pg_notify('${schema}', new.id::text); return null; end $$;
      create trigger tell after insert on ${schema}.effect for each row execute function ${schema}.tell()`);
    return CommittedEffects.listen(this.databaseUrl, schema);
  }

  /** What the server has written so far, and what of it was the handlers' own statement, if the server tells. */
  async cost(): Promise<Cost> {
    const { rows } = await this.pool.query<{ lsn: string; wal: string }>(
      `select lsn::text, (lsn - '0/0')::text as wal from pg_current_wal_lsn() as lsn`,
    );
    const { lsn, wal } = rows[0]!;
    const handlers = await this.told<{ statements: number; wal: number }>(
      'pg_stat_statements',
      // Of all runs: since Postgres 18 a statement is told by the names of its tables, without their schemas.
      `select coalesce(sum(calls), 0)::int as statements, coalesce(sum(wal_bytes), 0)::float8 as wal
       from pg_stat_statements where query like 'insert into %.effect %'`,
      [],
    );
    return { lsn, wal: BigInt(wal), handlers };
  }

  /** Bytes of images of whole pages between two places of the WAL, if the server tells. */
  async pageImages(from: string, to: string): Promise<number | undefined> {
    const row = await this.told<{ bytes: number }>(
      'pg_walinspect',
      'select sum(fpi_size)::float8 as bytes from pg_get_wal_stats($1::pg_lsn, $2::pg_lsn)',
      [from, to],
    );
    return row?.bytes;
  }

  /** Bytes that the server has written to its WAL so far. */
  async wal(): Promise<bigint> {
    const { rows } = await this.pool.query<{ wal: string }>(
      `select (pg_current_wal_lsn() - '0/0')::text as wal`,
    );
    return BigInt(rows[0]!.wal);
  }

  /**
   * Transactions that have committed in the benchmark's database so far, a few of the benchmark's own among them. Sessions
   * tell the server of theirs now and then, and of the last ones when they close, which may be after their process has
   * ended. So this waits for the end of all others, and until what they told shows; undefined if that takes too long.
   */
  async commits(): Promise<number | undefined> {
    try {
      await until('the end of all sessions', async () => (await this.sessions()) === 0, SETTLE_MS);
      let told = await this.commitsTold();
      await until(
        'complete statistics',
        async () => told === (told = await this.commitsTold()),
        SETTLE_MS,
        REPORT_MS,
      );
      return told;
    } catch {
      return undefined;
    }
  }

  /** How many others have a session in the benchmark's database. */
  private async sessions(): Promise<number> {
    const { rows } = await this.server.query<{ sessions: number }>(
      `select count(*)::int as sessions from pg_stat_activity
       where datname = $1 and backend_type = 'client backend' and application_name <> $1`,
      [this.name],
    );
    return rows[0]!.sessions;
  }

  /** Asked for in another database: each look would be a commit in this one. */
  private async commitsTold(): Promise<number> {
    const { rows } = await this.server.query<{ commits: string }>(
      'select xact_commit::text as commits from pg_stat_database where datname = $1',
      [this.name],
    );
    return Number(rows[0]!.commits);
  }

  /** One row by way of an extension; undefined where the server has it not, or does not let us. */
  private async told<Row extends pg.QueryResultRow>(
    extension: string,
    sql: string,
    values: readonly string[],
  ): Promise<Row | undefined> {
    try {
      await this.pool.query(`create extension if not exists ${extension}`);
      return (await this.pool.query<Row>(sql, [...values])).rows[0];
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.producer.disconnect();
    await this.admin.disconnect();
    await this.pool.end();
    await this.server.query(`drop database if exists ${this.name} with (force)`);
    await this.server.end();
  }
}

/** As Nest's clients send them; nobody reads the replies. */
function requestHeaders({ topic }: Place) {
  return {
    kafka_correlationId: systemClock.uuid(),
    kafka_replyTopic: `${topic}.reply`,
    kafka_replyPartition: '0',
  };
}

export function customerOf(id: number): string {
  return `customer-${(Math.imul(id, 0x9e3779b1) >>> 0) % CUSTOMERS}`;
}

export function orderOf(id: number, valueBytes: number): Order {
  const order = { id, customer: customerOf(id), cents: id % 10_000, note: '' };
  const missing = valueBytes - JSON.stringify(order).length;
  return missing > 0 ? { ...order, note: 'x'.repeat(missing) } : order;
}
