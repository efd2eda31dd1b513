/** Program. A durable service as users write them, with places in it where a test can disturb it. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  Ctx,
  EventPattern,
  type KafkaContext,
  MessagePattern,
  type MicroserviceOptions,
  Payload,
} from '@nestjs/microservices';
import { DurableExecution, DurableLedger, DurableModule, kafkaServer } from 'nestjs-durable-kafka';
import type { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import type { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import type { systemClock } from '../../../lib/runtime/clock.js';
import { FailPoints, tell } from './fail-points.js';
import { SETTINGS_VARIABLE, type ServiceSettings, type Work } from './service-settings.js';

/** Parts of the package that its index does not list, of the same copy that is under test. */
async function internal<Exports>(path: string): Promise<Exports> {
  return (await import(new URL(path, import.meta.resolve('nestjs-durable-kafka')).href)) as Exports;
}

const settings = JSON.parse(process.env[SETTINGS_VARIABLE]!) as ServiceSettings;
const { brokers, databaseUrl, topics, mode = 'transaction', ordering = 'partition' } = settings;
const failPoints = new FailPoints(settings.failPoint, topics);
const { KafkajsDriver: Driver } = await internal<{ KafkajsDriver: typeof KafkajsDriver }>(
  './driver/kafkajs/kafkajs-driver.js',
);
const { PostgresLedger: OwnLedger } = await internal<{ PostgresLedger: typeof PostgresLedger }>(
  './postgres/postgres-ledger.js',
);
const clock = (await internal<{ systemClock: typeof systemClock }>('./runtime/clock.js')).systemClock;
const ledger = new OwnLedger({
  connection: { connectionString: databaseUrl, max: 6, connectionTimeoutMillis: 1_000 },
  schema: settings.ledgerSchema,
  log: new Logger('Ledger'),
});

/** Never held for an operator. */
const QUICK_PARKING = { retryAfter: 50, factor: 1, attempts: 1_000_000 };

@Controller()
class EffectController {
  constructor(private readonly durable: DurableExecution) {}

  @EventPattern<string>(topics.events)
  async onEvent(@Payload() work: Work, @Ctx() context: KafkaContext): Promise<void> {
    const nonce = await this.effect(work, context);
    if (work.isPoison && !settings.healed) throw new TypeError('poison');
    await this.durable.emit(topics.out, { key: work.id, value: { id: work.id, nonce } });
    await this.end(work, context);
  }

  @MessagePattern(topics.requests)
  async onRequest(@Payload() work: Work, @Ctx() context: KafkaContext) {
    const nonce = await this.effect(work, context);
    await this.end(work, context);
    return { id: work.id, nonce };
  }

  /** Another nonce at every run: it tells which run's writes, emitted records and replies are there. */
  private async effect({ id, sql }: Work, context: KafkaContext): Promise<string> {
    if (mode === 'transaction') return this.write(this.durable.client, { id, sql }, context);
    if (!settings.withoutCalls) await this.durable.step('call', () => this.call(id));
    return this.durable.transaction('write', async (client) => {
      const nonce = await this.write(client, { id, sql }, context);
      await failPoints.reach('in-transaction', context.getTopic());
      return nonce;
    });
  }

  /** To the outside world. */
  private async call(id: string): Promise<void> {
    await ledger.pool.query(`insert into ${settings.effectSchema}.call (id) values ($1)`, [id]);
  }

  private async write(
    client: Pick<DurableExecution['client'], 'query'>,
    { id, sql }: Work,
    context: KafkaContext,
  ): Promise<string> {
    const nonce = randomUUID();
    await client.query(
      `insert into ${settings.effectSchema}.effect (id, nonce, instance, topic, partition, record_offset)
       values ($1, $2, $3, $4, $5, $6)`,
      [id, nonce, settings.instance, context.getTopic(), context.getPartition(), context.getMessage().offset],
    );
    if (sql) await client.query(sql);
    return nonce;
  }

  private async end({ millis = settings.handlerMillis }: Work, context: KafkaContext): Promise<void> {
    await failPoints.reach('in-handler', context.getTopic());
    if (millis > 0) await sleep(millis);
  }
}

@Module({
  imports: [
    DurableModule.forRoot({ ledger: failPoints.ledger(ledger), mode, lease: settings.lease ?? 2_000 }),
  ],
  controllers: [EffectController],
})
class ServiceModule {}

/** Takes all connections of the pool, and gives them back. */
async function hogPool(): Promise<void> {
  const clients = await Promise.all(
    Array.from({ length: ledger.pool.options.max }, async () => {
      for (;;) {
        const client = await ledger.pool.connect().catch(() => undefined);
        if (client) return client;
      }
    }),
  );
  tell('hogged');
  await new Promise<void>((resolve) => {
    process.on('message', (message) => {
      if (message === 'release pool') resolve();
    });
  });
  for (const client of clients) client.release();
}

// Whoever started this process is gone.
process.on('disconnect', () => process.exit(1));
process.on('message', (message) => {
  if (message === 'hog pool') void hogPool();
});

const app = await NestFactory.createMicroservice<MicroserviceOptions>(
  ServiceModule,
  kafkaServer({
    driver: failPoints.driver(new Driver({ brokers: [...brokers] }, clock, new Logger('Driver'))),
    consumer: {
      groupId: settings.groupId,
      sessionTimeout: settings.sessionTimeout,
      heartbeatInterval: settings.sessionTimeout / 4,
    },
    postfixId: '',
    subscribe: { fromBeginning: true },
    concurrency: settings.concurrency ?? 4,
    ordering,
    groupCommit: { maxRecords: settings.maxRecords, maxMillis: 50, concurrent: ordering === 'key' },
    retry: { attempts: settings.attempts, initial: 50, max: 200 },
    deadLetter: true,
    ...(settings.onExhausted && { onExhausted: settings.onExhausted, parking: QUICK_PARKING }),
    provision: false,
  }),
);
app.enableShutdownHooks(['SIGTERM']);
await app.listen();
process.on('message', (message) => {
  if (message !== 'redrive') return;
  const redriven = app.get(DurableLedger, { strict: false }).redrive({ from: `${topics.events}.dlt` });
  void redriven.then(({ redriven, done }) => tell(`redriven ${redriven}, done ${done}`));
});
tell('ready');
