/** Program. The same bank on this library: handlers write through the transaction that also records them as done. */
import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { DurableExecution, DurableModule, kafkaServer } from 'nestjs-durable-kafka';
import { BankController } from './bank.controller.js';
import { brokers, consumer, databaseUrl, durableSchema } from './environment.js';
import { serve } from './serve.js';
import type { Sql } from './sql.js';
import { Work } from './work.js';

@Injectable()
class DurableWork extends Work {
  constructor(private readonly durable: DurableExecution) {
    super();
  }

  transaction(statements: (sql: Sql) => Promise<void>): Promise<void> {
    return statements(this.durable.client);
  }

  read<Value>(statements: (sql: Sql) => Promise<Value>): Promise<Value> {
    return statements(this.durable.client);
  }

  emit(topic: string, event: { key: string; value: object }): Promise<void> {
    return this.durable.emit(topic, event);
  }
}

@Module({
  imports: [DurableModule.forRoot({ connection: databaseUrl, schema: durableSchema })],
  controllers: [BankController],
  providers: [{ provide: Work, useClass: DurableWork }],
})
class BankModule {}

await serve(
  await NestFactory.createMicroservice<MicroserviceOptions>(
    BankModule,
    kafkaServer({
      client: { brokers },
      consumer,
      // A group's transaction would lock the accounts of many transfers, in no order: groups would wait for each other.
      groupCommit: false,
      subscribe: { fromBeginning: true },
    }),
  ),
);
