/** Program. Callers that each wait for a reply before they send the next request, through one client. */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientKafka } from '@nestjs/microservices';
import { ClientKafkaProxy } from 'nestjs-durable-kafka';
import { firstValueFrom } from 'rxjs';
import { percentile } from '../statistics.js';
import type { Order } from './effects.js';
import { readSettings, tell } from './settings.js';

export interface RequesterSettings {
  readonly client: 'ours' | 'built-in';
  readonly brokers: readonly string[];
  readonly topic: string;
  readonly groupId: string;
  /** Requests in flight, one after the other. */
  readonly loads: readonly number[];
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** What each request carries; its id is replaced. */
  readonly order: Order;
}

export interface LoadResult {
  readonly load: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
}

export interface RequesterResult {
  readonly loads: readonly LoadResult[];
  /** All requests, warm-up included; ids go from 1 to this. */
  readonly sent: number;
  /** Replies that were not the request. */
  readonly wrong: number;
}

const { client: kind, brokers, topic, groupId, loads, ...settings } = readSettings<RequesterSettings>();
const options = { client: { brokers: [...brokers] }, consumer: { groupId }, postfixId: '' };
const client = kind === 'ours' ? new ClientKafkaProxy(options) : new ClientKafka(options);
let sent = 0;
let wrong = 0;

async function callers(load: number, seconds: number): Promise<{ latencies: number[]; seconds: number }> {
  const latencies: number[] = [];
  const began = performance.now();
  const end = began + seconds * 1_000;
  const caller = async () => {
    while (performance.now() < end) {
      const order = { ...settings.order, id: ++sent };
      const start = performance.now();
      const reply = await firstValueFrom(client.send<Order, Order>(topic, order));
      latencies.push(performance.now() - start);
      if (reply.id !== order.id || reply.note !== order.note) wrong++;
    }
  };
  await Promise.all(Array.from({ length: load }, caller));
  return { latencies, seconds: (performance.now() - began) / 1_000 };
}

client.subscribeToResponseOf(topic);
await client.connect();
tell({ ready: true });
const results: LoadResult[] = [];
for (const load of loads) {
  await callers(load, settings.warmUpSeconds);
  await sleep(200);
  const { latencies, seconds } = await callers(load, settings.seconds);
  results.push({
    load,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    perSecond: latencies.length / seconds,
  });
}
const result: RequesterResult = { loads: results, sent, wrong };
tell({ result });
process.once('SIGTERM', () => void client.close().then(() => process.exit(0)));
