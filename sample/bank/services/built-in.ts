/** Program. The bank on Nest's built-in Kafka transport, as services are written today: its own transaction, then the event. */
import 'reflect-metadata';
import { Inject, Injectable, Module, type OnApplicationShutdown } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientKafka, ClientsModule, type MicroserviceOptions, Transport } from '@nestjs/microservices';
import { Pool } from 'pg';
import { lastValueFrom } from 'rxjs';
import { BankController } from './bank.controller.js';
import { brokers, consumer, databaseUrl } from './environment.js';
import { serve } from './serve.js';
import type { Sql } from './sql.js';
import { Work } from './work.js';

@Injectable()
class OwnTransactions extends Work implements OnApplicationShutdown {
  private readonly pool = new Pool({ connectionString: databaseUrl });

  constructor(@Inject('EVENTS') private readonly events: ClientKafka) {
    super();
  }

  async transaction(statements: (sql: Sql) => Promise<void>): Promise<void> {
    const client = await this.pool.connect();
    try {
      await client.query('begin');
      await statements(client);
      await client.query('commit');
    } catch (error) {
      await client.query('rollback');
      throw error;
    } finally {
      client.release();
    }
  }

  read<Value>(statements: (sql: Sql) => Promise<Value>): Promise<Value> {
    return statements(this.pool);
  }

  async emit(topic: string, event: { key: string; value: object }): Promise<void> {
    await lastValueFrom(this.events.emit(topic, event));
  }

  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
  }
}

@Module({
  imports: [
    ClientsModule.register([
      {
        name: 'EVENTS',
        transport: Transport.KAFKA,
        options: { client: { brokers }, producerOnlyMode: true },
      },
    ]),
  ],
  controllers: [BankController],
  providers: [{ provide: Work, useClass: OwnTransactions }],
})
class BankModule {}

await serve(
  await NestFactory.createMicroservice<MicroserviceOptions>(BankModule, {
    transport: Transport.KAFKA,
    options: {
      client: { brokers },
      consumer,
      subscribe: { fromBeginning: true },
    },
  }),
);
