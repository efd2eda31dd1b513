/** Program. Sends each order twice to a handler that fails in the middle, and counts what an ORM has written. */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { drizzle } from 'drizzle-orm/node-postgres';
import { DurableLedger, DurablePool, kafkaServer, type ClientKafkaProxy } from 'nestjs-durable-kafka';
import { lastValueFrom } from 'rxjs';
import { startServers } from '../servers/index.js';
import { appModule } from './app.module.js';
import { group, ORDERS, PIECES, topics } from './settings.js';
import { bookings, createTables, dropTables, stock } from './tables.js';

const servers = await startServers({ log: console.log });
try {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(appModule(servers), {
    ...kafkaServer({
      client: { brokers: servers.brokers },
      consumer: { groupId: group },
      subscribe: { fromBeginning: true },
    }),
    logger: ['error'],
  });
  // Outside handlers it is an ordinary pool.
  const pool = app.get(DurablePool);
  await pool.query(createTables);
  const db = drizzle(pool);
  await db.insert(stock).values({ article: 1, pieces: PIECES });
  await app.listen();

  const orders = Array.from({ length: ORDERS }, (_, index) => ({
    value: { order: index + 1, article: 1, pieces: 3 },
    headers: { 'idempotency-key': `order-${index + 1}` },
  }));
  const messages = orders.flatMap((order) => [order, order]);
  await lastValueFrom(app.get<ClientKafkaProxy>('EVENTS').emitBatch(topics.bought, { messages }));

  const ledger = app.get(DurableLedger);
  const seen = () => ledger.counters().handled + ledger.counters().suppressed;
  while (seen() < messages.length) await sleep(20);
  const booked = await db.select().from(bookings);
  const [left] = await db.select().from(stock);
  await pool.query(dropTables);
  await app.close();
  console.log(
    `${messages.length} messages, ${booked.length} orders booked, ${left?.pieces} of ${PIECES} pieces left.`,
  );
} finally {
  await servers.stop();
}
