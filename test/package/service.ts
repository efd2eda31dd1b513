/**
 * A user's program in a project of its own: `Transport.KAFKA`, `register` and the public names. It handles an event that
 * was produced twice, answers a request, says what came of it as JSON, and ends.
 */
import 'nestjs-durable-kafka/register';
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ClientsModule,
  Ctx,
  EventPattern,
  KafkaContext,
  MessagePattern,
  Payload,
  Transport,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import {
  ClientKafkaProxy,
  Durable,
  DurableExecution,
  DurableInterceptor,
  DurableModule,
  kafkaClient,
  KafkaDeliveryContext,
  KafkaMaxRetryExceptionFilter,
  kafkaServer,
  KafkaTerminalException,
  KafkaTransportError,
  NotDurable,
  ReplyPartitionAssigner,
  ReplyTimeoutError,
  ServerKafka,
  type KafkaTransportOptions,
} from 'nestjs-durable-kafka';
import { InMemoryKafka, InMemoryLedger } from 'nestjs-durable-kafka/testing';
import { firstValueFrom } from 'rxjs';

const { BROKERS, DATABASE, SCHEMA, EVENTS, REQUESTS, GROUP } = process.env as Record<string, string>;

@Controller()
class Handlers {
  static context: unknown;
  constructor(private readonly durable: DurableExecution) {}

  @EventPattern<string>(EVENTS)
  async event(@Payload() event: { id: string }, @Ctx() context: KafkaContext): Promise<void> {
    Handlers.context = context;
    await this.durable.client.query(`insert into "${SCHEMA}".effect (id) values ($1)`, [event.id]);
  }

  @Durable({ name: 'double', key: (message) => message.value.id })
  @MessagePattern(REQUESTS)
  async request(@Payload() { n }: { n: number }, @Ctx() context: KafkaDeliveryContext) {
    const { rows } = await this.durable.client.query('select $1::int * 2 as doubled', [n]);
    return { doubled: rows[0]?.['doubled'], attempt: context.attempt, key: this.durable.key };
  }
}

@Module({
  imports: [
    DurableModule.forRoot({ connection: DATABASE, schema: SCHEMA }),
    ClientsModule.register([
      {
        name: 'CLIENT',
        transport: Transport.KAFKA,
        options: { client: { brokers: [BROKERS!] }, consumer: { groupId: GROUP! } },
      },
      kafkaClient('EXPLICIT', { client: { brokers: [BROKERS!] }, requestTimeout: 1_000 }),
    ]),
  ],
  controllers: [Handlers],
})
class App {}

/** Every other public name, used as its type allows. */
const options: KafkaTransportOptions = { driver: new InMemoryKafka(), concurrency: 2, deadLetter: true };
const others = {
  strategy: kafkaServer(options),
  error: new ReplyTimeoutError('topic', 1) instanceof KafkaTransportError,
  terminal: new KafkaTerminalException('no'),
  filter: new KafkaMaxRetryExceptionFilter(3),
  ledger: new InMemoryLedger(),
  names: [NotDurable, DurableInterceptor, ReplyPartitionAssigner, ServerKafka].map(({ name }) => name),
};

async function main(): Promise<void> {
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(App, {
    transport: Transport.KAFKA,
    options: {
      client: { brokers: [BROKERS!] },
      consumer: { groupId: GROUP!, maxWaitTimeInMs: 200 },
      subscribe: { fromBeginning: true },
    },
    logger: ['error', 'warn'],
  });
  const client = app.get<ClientKafkaProxy>('CLIENT');
  client.subscribeToResponseOf(REQUESTS);
  await app.listen();
  const message = { value: { id: 'one' }, headers: { 'idempotency-key': 'one' } };
  await firstValueFrom(client.emit(EVENTS!, message));
  await firstValueFrom(client.emit(EVENTS!, message));
  const answer = await firstValueFrom(client.send(REQUESTS!, { id: 'r', n: 21 }));
  const again = await firstValueFrom(client.send(REQUESTS!, { id: 'r', n: 21 }));
  // Closed when the group has handled both: the test looks at the database then.
  while (!Handlers.context) await new Promise((resolve) => setTimeout(resolve, 20));
  await app.close();
  console.log(
    JSON.stringify({
      answer,
      again,
      client: client instanceof ClientKafkaProxy,
      explicit: app.get('EXPLICIT') instanceof ClientKafkaProxy,
      context: Handlers.context instanceof KafkaDeliveryContext && Handlers.context instanceof KafkaContext,
      names: others.names,
      error: others.error,
    }),
  );
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
