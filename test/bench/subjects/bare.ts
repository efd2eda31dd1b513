/**
 * Program. The ceiling: kafkajs alone, with one hand-written transaction for each batch that it fetched. Exactly once by
 * an offset per partition that is written in the same transaction; no keys, no replies, no retries.
 */
import kafkajs from 'kafkajs';
import pg from 'pg';
import { effectOf, type Order } from './effects.js';
import { Meter } from './meter.js';
import { readSettings, tell } from './settings.js';

/** `pipelined`: the inserts of a batch are sent without waiting for one another. */
interface Options {
  readonly pipelined?: boolean;
}

const settings = readSettings();
const { pipelined = false } = settings.options as Options;
const meter = new Meter(settings);
meter.countStatements(pg.Client);
const effect = effectOf(settings.schema, settings.instance);
const pool = new pg.Pool({ connectionString: settings.databaseUrl, max: 14, pipeline: pipelined });
const kafka = new kafkajs.Kafka({ brokers: [...settings.brokers], logLevel: kafkajs.logLevel.ERROR });
const consumer = kafka.consumer({ groupId: settings.groupId });
const progress = `insert into ${settings.schema}.progress (partition, next_offset) values ($1, $2)
  on conflict (partition) do update set next_offset = excluded.next_offset`;

async function store(partition: number, orders: readonly Order[], nextOffset: string): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query({ name: 'progress', text: progress, values: [partition, nextOffset] });
    if (pipelined) {
      await Promise.all(
        orders.map((order) => client.query(effect(order, partition)).then(() => meter.handled())),
      );
    } else {
      for (const order of orders) {
        await client.query(effect(order, partition));
        meter.handled();
      }
    }
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

async function done(partition: number): Promise<bigint> {
  const { rows } = await pool.query<{ next_offset: string }>({
    name: 'done',
    text: `select next_offset from ${settings.schema}.progress where partition = $1`,
    values: [partition],
  });
  return BigInt(rows[0]?.next_offset ?? 0);
}

await consumer.connect();
await consumer.subscribe({ topic: settings.topic, fromBeginning: true });
const joined = new Promise<void>((resolve) => consumer.on(consumer.events.GROUP_JOIN, () => resolve()));
await consumer.run({
  partitionsConsumedConcurrently: 12,
  eachBatch: async ({ batch: { partition, messages } }) => {
    const next = settings.work === 'empty' ? 0n : await done(partition);
    const orders = messages
      .filter(({ offset }) => BigInt(offset) >= next)
      .map(({ value }) => JSON.parse(value!.toString()) as Order);
    if (orders.length === 0) return;
    if (settings.work === 'empty') for (let n = orders.length; n > 0; n--) meter.handled();
    else await store(partition, orders, String(BigInt(messages.at(-1)!.offset) + 1n));
  },
});
await joined;
tell({ ready: true });
process.once('SIGTERM', () => {
  void consumer
    .disconnect()
    .then(() => pool.end())
    .then(() => process.exit(0));
});
