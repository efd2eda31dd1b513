/** Program. A service on this library: exactly once where the work writes to Postgres. */
import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { KafkaContext, MicroserviceOptions } from '@nestjs/microservices';
import {
  DurableExecution,
  DurableLedger,
  DurableModule,
  kafkaServer,
  KafkaTerminalException,
  type KafkaTransportOptions,
} from 'nestjs-durable-kafka';
import pg from 'pg';
import { controllerFor } from './controllers.js';
import { effectOf, Effects, type Order } from './effects.js';
import { Meter } from './meter.js';
import { serve } from './serve.js';
import { readSettings } from './settings.js';

/** `transport`: options of `kafkaServer`; `failEvery`: that many records have one that fails; `suppressed`: count those. */
interface Options {
  readonly transport?: KafkaTransportOptions;
  readonly failEvery?: number;
  readonly suppressed?: boolean;
}

const settings = readSettings();
const { transport, failEvery = 0, suppressed = false } = settings.options as Options;
const durable = settings.work !== 'empty' && settings.work !== 'echo';
const meter = new Meter(settings);
meter.countStatements(pg.Client);
const effect = effectOf(settings.schema, settings.instance);

@Injectable()
class TransactionEffects extends Effects {
  constructor(private readonly durable: DurableExecution) {
    super();
  }

  async insert(order: Order, context: KafkaContext): Promise<void> {
    await this.durable.client.query(effect(order, context.getPartition()));
  }
}

const failure = (order: Order) =>
  failEvery > 0 && order.id % failEvery === 0 ? new KafkaTerminalException('as told') : undefined;

@Module({
  imports: durable
    ? [DurableModule.forRoot({ connection: settings.databaseUrl, schema: settings.ownSchema })]
    : [],
  controllers: [controllerFor(settings, meter, failure)],
  providers: durable ? [{ provide: Effects, useClass: TransactionEffects }] : [],
})
class ServiceModule {}

const app = await NestFactory.createMicroservice<MicroserviceOptions>(ServiceModule, {
  ...kafkaServer({
    client: { brokers: [...settings.brokers] },
    consumer: { groupId: settings.groupId },
    subscribe: { fromBeginning: true },
    postfixId: '',
    ...transport,
  }),
  logger: ['error', 'fatal'],
});
if (suppressed) {
  const ledger = app.get(DurableLedger);
  const watch = setInterval(() => {
    meter.reach(ledger.counters().suppressed);
    if (meter.ended) clearInterval(watch);
  }, 5);
  watch.unref();
}
await serve(app);
