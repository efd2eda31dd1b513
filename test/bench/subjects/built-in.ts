/** Program. The same service on Nest's built-in transport: at-least-once, or with an inbox written by hand. */
import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  type KafkaContext,
  type KafkaOptions,
  type MicroserviceOptions,
  Transport,
} from '@nestjs/microservices';
import pg from 'pg';
import { controllerFor } from './controllers.js';
import { effectOf, Effects, type Order } from './effects.js';
import { Meter } from './meter.js';
import { serve } from './serve.js';
import { readSettings } from './settings.js';

/** `run`: kafkajs' options of the same name. */
interface Options {
  readonly run?: NonNullable<KafkaOptions['options']>['run'];
}

const settings = readSettings();
const { run } = settings.options as Options;
const meter = new Meter(settings);
meter.countStatements(pg.Client);
const effect = effectOf(settings.schema, settings.instance);
const pool = new pg.Pool({ connectionString: settings.databaseUrl, max: 14 });

@Injectable()
class PoolEffects extends Effects {
  async insert(order: Order, context: KafkaContext): Promise<void> {
    await pool.query(effect(order, context.getPartition()));
  }
}

/** As teams write it: the message's id and the effect in one transaction; an id that is there already ends the work. */
@Injectable()
class InboxEffects extends Effects {
  async insert(order: Order, context: KafkaContext): Promise<void> {
    const id = String(context.getMessage().headers?.['message-id']);
    const client = await pool.connect();
    try {
      await client.query('begin');
      const { rowCount } = await client.query({
        name: 'inbox',
        text: `insert into ${settings.schema}.inbox (id) values ($1) on conflict do nothing`,
        values: [id],
      });
      if (rowCount === 1) await client.query(effect(order, context.getPartition()));
      await client.query('commit');
    } catch (error) {
      await client.query('rollback');
      throw error;
    } finally {
      client.release();
    }
  }
}

@Module({
  controllers: [controllerFor(settings, meter)],
  providers: [{ provide: Effects, useClass: settings.work === 'inbox' ? InboxEffects : PoolEffects }],
})
class ServiceModule {}

await serve(
  await NestFactory.createMicroservice<MicroserviceOptions>(ServiceModule, {
    transport: Transport.KAFKA,
    options: {
      client: { brokers: [...settings.brokers] },
      consumer: { groupId: settings.groupId },
      subscribe: { fromBeginning: true },
      postfixId: '',
      ...(run ? { run } : {}),
    },
    logger: ['error', 'fatal'],
  }),
);
