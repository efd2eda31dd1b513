/** Program. Places orders outside of any handler: each is stored together with its event, or neither is. */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { DurablePool, kafkaServer } from 'nestjs-durable-kafka';
import { startServers } from '../servers/index.js';
import { appModule } from './app.module.js';
import { CheckoutService } from './checkout.service.js';
import { group, schema } from './settings.js';

const servers = await startServers({ log: console.log });
try {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(appModule(servers.databaseUrl), {
    ...kafkaServer({
      client: { brokers: servers.brokers },
      consumer: { groupId: group },
      subscribe: { fromBeginning: true },
    }),
    logger: ['warn', 'error'],
  });
  const pool = app.get(DurablePool);
  await pool.query(
    `create schema ${schema};
     create table ${schema}.placed (id text primary key, total integer not null);
     create table ${schema}.shipped (id text not null)`,
  );
  const ids = async (table: string) =>
    (await pool.query<{ id: string }>(`select id from ${schema}.${table} order by id`)).rows.map(
      ({ id }) => id,
    );
  await app.listen();

  const checkout = app.get(CheckoutService);
  for (const [id, total] of [
    ['a-lamp', 40],
    ['a-house', 90_000],
    ['a-chair', 60],
    ['a-table', 150],
  ] as const) {
    const outcome = await checkout.place({ id, total }).catch((error: Error) => error.message);
    console.log(outcome === id ? `placed  ${id}` : outcome);
  }
  const placed = await ids('placed');
  while ((await ids('shipped')).length < placed.length) await sleep(20);
  const shipped = await ids('shipped');
  await pool.query(`drop schema ${schema} cascade`);
  await app.close();
  console.log(
    `Placed ${placed.length} orders and shipped ${shipped.length}; nobody heard of the refused one.`,
  );
} finally {
  await servers.stop();
}
