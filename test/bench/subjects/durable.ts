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

/**
 * `transport`: options of `kafkaServer`; `claim`: claim mode, in which the insert is a call outside, or such a call in a step;
 * `failEvery`: that many records have one that fails; `suppressed`: count those; `count`: count what is not the handlers' own;
 * `groupMillis`: how long a group may take.
 */
interface Options {
  readonly transport?: KafkaTransportOptions;
  readonly claim?: 'plain' | 'step';
  readonly count?: 'ours';
  readonly groupMillis?: number;
  readonly failEvery?: number;
  readonly suppressed?: boolean;
}

const settings = readSettings();
const {
  transport = {},
  claim,
  count,
  groupMillis,
  failEvery = 0,
  suppressed = false,
} = settings.options as Options;
const durable = settings.work !== 'empty' && settings.work !== 'echo';
const meter = new Meter(settings);
if (count === 'ours') meter.countOurs(pg.Client);
else meter.countStatements(pg.Client);
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

@Injectable()
class OutsideEffects extends Effects {
  private readonly outside = new pg.Pool({ connectionString: settings.databaseUrl, max: 10, pipeline: true });

  constructor(private readonly durable: DurableExecution) {
    super();
  }

  async insert(order: Order, context: KafkaContext): Promise<void> {
    const call = async () => void (await this.outside.query(effect(order, context.getPartition())));
    await (claim === 'step' ? this.durable.step('insert', call) : call());
  }
}

const failure = (order: Order) =>
  failEvery > 0 && order.id % failEvery === 0 ? new KafkaTerminalException('as told') : undefined;

@Module({
  imports: durable
    ? [
        DurableModule.forRoot({
          connection: settings.databaseUrl,
          schema: settings.ownSchema,
          mode: claim ? 'claim' : 'transaction',
        }),
      ]
    : [],
  controllers: [controllerFor(settings, meter, failure)],
  providers: durable ? [{ provide: Effects, useClass: claim ? OutsideEffects : TransactionEffects }] : [],
})
class ServiceModule {}

const app = await NestFactory.createMicroservice<MicroserviceOptions>(ServiceModule, {
  ...kafkaServer({
    client: { brokers: [...settings.brokers] },
    consumer: { groupId: settings.groupId },
    subscribe: { fromBeginning: true },
    postfixId: '',
    ...transport,
    ...(groupMillis !== undefined && {
      groupCommit: { ...transport.groupCommit, maxMillis: groupMillis },
    }),
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
