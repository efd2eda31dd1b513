/** Program. A durable service with slow handlers that ends by SIGTERM. Says what it does, a line each. */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern, Payload, type MicroserviceOptions } from '@nestjs/microservices';
import { DurableExecution, DurableModule, kafkaServer, NotDurable } from 'nestjs-durable-kafka';
import { SETTINGS_VARIABLE, type LifecycleSettings } from './settings.js';

const settings = JSON.parse(process.env[SETTINGS_VARIABLE]!) as LifecycleSettings;
const { topics, schema } = settings;

process.on('unhandledRejection', (reason) => console.log(`UNHANDLED ${String(reason)}`));

@Controller()
class Handlers {
  constructor(private readonly durable: DurableExecution) {}

  @EventPattern<string>(topics.durable)
  async durably(@Payload() id: string): Promise<void> {
    await this.durable.client.query(`insert into "${schema}".effect (id) values ($1)`, [id]);
    await sleep(settings.handlerMillis);
    console.log(`DURABLE ${id}`);
  }

  @NotDurable()
  @EventPattern<string>(topics.plain)
  async plainly(@Payload() id: string): Promise<void> {
    await sleep(settings.handlerMillis);
    console.log(`PLAIN ${id}`);
  }

  @MessagePattern(topics.requests)
  async ask(@Payload() id: string): Promise<{ id: string }> {
    await sleep(settings.handlerMillis);
    return { id };
  }
}

@Module({
  imports: [DurableModule.forRoot({ connection: settings.databaseUrl, schema })],
  controllers: [Handlers],
})
class App {}

const app = await NestFactory.createMicroservice<MicroserviceOptions>(App, {
  ...kafkaServer({
    client: { brokers: settings.brokers },
    consumer: { groupId: settings.group, maxWaitTimeInMs: 200 },
    subscribe: { fromBeginning: true },
    shutdownTimeout: settings.shutdownTimeout,
  }),
  logger: ['warn', 'error'],
});
app.enableShutdownHooks();
await app.listen();
console.log('LISTENING');
