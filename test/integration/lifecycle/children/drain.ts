/** Program. Drains a topic, slowly at first, and tells how much memory it took. */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, type MicroserviceOptions } from '@nestjs/microservices';
import { kafkaServer } from 'nestjs-durable-kafka';
import { SETTINGS_VARIABLE, type DrainSettings } from './settings.js';

const { brokers, group, topic, slow, total } = JSON.parse(process.env[SETTINGS_VARIABLE]!) as DrainSettings;
let handled = 0;
let highest = 0;

@Controller()
class Handlers {
  @EventPattern<string>(topic)
  async handle(): Promise<void> {
    if (handled < slow) await sleep(2);
    handled++;
    if (handled % 500 === 0) {
      const { heapUsed, external } = process.memoryUsage();
      highest = Math.max(highest, heapUsed + external);
    }
    if (handled === total) finish();
  }
}

@Module({ controllers: [Handlers] })
class App {}

let finish!: () => void;
const finished = new Promise<void>((resolve) => (finish = resolve));
const app = await NestFactory.createMicroservice<MicroserviceOptions>(App, {
  ...kafkaServer({
    client: { brokers },
    consumer: { groupId: group },
    subscribe: { fromBeginning: true },
  }),
  logger: ['warn', 'error'],
});
await app.listen();
await finished;
await app.close();
console.log(JSON.stringify({ handled, highest }));
