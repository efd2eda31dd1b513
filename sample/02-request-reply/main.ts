/** Program. Asks a service over Kafka: one reply, a stream of replies, an error, and a hundred requests at once. */
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { kafkaServer } from 'nestjs-durable-kafka';
import { startServers } from '../servers/index.js';
import { appModule } from './app.module.js';
import { Calculator } from './calculator.js';
import { group } from './settings.js';

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
  const replies = await app.get(Calculator).run();
  await app.close();
  console.log(`Got ${replies} replies.`);
} finally {
  await servers.stop();
}
