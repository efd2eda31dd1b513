/** Program. A durable handler whose repository joins its transaction by `@Transactional()` of @nestjs-cls, over Drizzle. */
import 'reflect-metadata';
import { Controller, Global, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, Payload, type MicroserviceOptions } from '@nestjs/microservices';
import { ClsPluginTransactional, Transactional, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterDrizzleOrm } from '@nestjs-cls/transactional-adapter-drizzle-orm';
import { sql } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { bigserial, pgSchema, text } from 'drizzle-orm/pg-core';
import { DurableExecution, DurableModule, DurablePool, kafkaServer } from 'nestjs-durable-kafka';
import { InMemoryKafka } from 'nestjs-durable-kafka/testing';
import { ClsModule } from 'nestjs-cls';
import { SETTINGS_VARIABLE, type TransactionalSettings } from './transactional-settings.js';

const settings = JSON.parse(process.env[SETTINGS_VARIABLE]!) as TransactionalSettings;
const DRIZZLE = Symbol('drizzle');
const effect = pgSchema(settings.schema).table('effect', {
  seq: bigserial({ mode: 'number' }),
  text: text().notNull(),
});

let isHandled!: () => void;
const handled = new Promise<void>((resolve) => (isHandled = resolve));
const tell = (line: string) => process.stdout.write(`@${line}\n`);

@Injectable()
class Effects {
  constructor(private readonly host: TransactionHost<TransactionalAdapterDrizzleOrm<NodePgDatabase>>) {}

  @Transactional()
  async write(value: string, error?: Error): Promise<number> {
    await this.host.tx.insert(effect).values({ text: value });
    if (error) throw error;
    const { rows } = await this.host.tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`);
    return rows[0]!.pid;
  }
}

@Controller()
class Handlers {
  private runs = 0;

  constructor(
    private readonly durable: DurableExecution,
    private readonly effects: Effects,
  ) {}

  @EventPattern('t')
  async handle(@Payload() id: string): Promise<void> {
    const run = ++this.runs;
    const pid = await this.effects.write(`${id} first`);
    const { rows } = await this.durable.client.query<{ pid: number }>('select pg_backend_pid() as pid');
    tell(`same connection ${rows[0]!.pid === pid}`);
    await this.effects.write(`${id} undone`, new Error('no')).catch(() => undefined);
    if (run === 1) throw new Error('after the commit of @Transactional()');
    await this.effects.write(`${id} last`);
    tell(`handled in run ${run}`);
    isHandled();
  }
}

@Global()
@Module({
  providers: [{ provide: DRIZZLE, inject: [DurablePool], useFactory: (pool: DurablePool) => drizzle(pool) }],
  exports: [DRIZZLE],
})
class DrizzleModule {}

@Module({
  imports: [
    DurableModule.forRoot({ connection: settings.databaseUrl, schema: settings.schema }),
    DrizzleModule,
    ClsModule.forRoot({
      plugins: [
        new ClsPluginTransactional({
          imports: [DrizzleModule],
          adapter: new TransactionalAdapterDrizzleOrm({ drizzleInstanceToken: DRIZZLE }),
        }),
      ],
    }),
  ],
  controllers: [Handlers],
  providers: [Effects],
})
class AppModule {}

const kafka = new InMemoryKafka();
const app = await NestFactory.createMicroservice<MicroserviceOptions>(
  AppModule,
  kafkaServer({ driver: kafka, subscribe: { fromBeginning: true }, retry: { attempts: 3, initial: 1 } }),
);
await app.listen();
kafka.produce('t', { value: 'a' });
await handled;
// Outside handlers it is a transaction like any other.
await app.get(Effects).write('outside');
await app
  .get(Effects)
  .write('outside, undone', new Error('no'))
  .catch(() => undefined);
await app.close();
tell('done');
