/** Program. Publishes orders, handles each by two handlers, one of which fails at first, and publishes on. */
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { kafkaServer, type ClientKafkaProxy } from 'nestjs-durable-kafka';
import { lastValueFrom } from 'rxjs';
import { startServers } from '../servers/index.js';
import { appModule } from './app.module.js';
import { ORDERS, Progress } from './progress.js';
import { group, topics } from './settings.js';

const servers = await startServers({ need: ['kafka'], log: console.log });
try {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(appModule(servers.brokers), {
    ...kafkaServer({
      client: { brokers: servers.brokers },
      consumer: { groupId: group },
      subscribe: { fromBeginning: true },
    }),
    logger: ['warn', 'error'],
  });
  await app.listen();

  const messages = Array.from({ length: ORDERS }, (_, index) => ({
    key: String(index + 1),
    value: { id: index + 1, total: 10 * (index + 1) },
  }));
  await lastValueFrom(app.get<ClientKafkaProxy>('EVENTS').emitBatch(topics.placed, { messages }));
  const progress = app.get(Progress);
  await progress.done;
  await app.close();
  console.log(`All ${ORDERS} orders are shipped, turnover ${progress.turnover}.`);
} finally {
  await servers.stop();
}
