import 'nestjs-durable-kafka/register';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, Payload, type MicroserviceOptions } from '@nestjs/microservices';
import { DurableExecution, DurableModule, kafkaServer } from 'nestjs-durable-kafka';
import { InMemoryKafka, InMemoryLedger } from 'nestjs-durable-kafka/testing';

const seen: string[] = [];

@Controller()
class Listener {
  constructor(private readonly durable: DurableExecution) {}

  @EventPattern('price.changed')
  changed(@Payload() text: string) {
    seen.push(`${this.durable.key}: ${text}`);
  }
}

@Module({ imports: [DurableModule.forRoot({ ledger: new InMemoryLedger() })], controllers: [Listener] })
class AppModule {}

it('hands each message to its handler once', async () => {
  const kafka = new InMemoryKafka();
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(AppModule, {
    ...kafkaServer({ driver: kafka, subscribe: { fromBeginning: true } }),
    logger: ['error'],
  });
  await app.listen();
  for (const value of ['once', 'once', 'twice']) {
    kafka.produce('price.changed', { value, headers: { 'idempotency-key': value } });
  }
  while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  await app.close();
  expect(seen).toEqual(['once: once', 'twice: twice']);
});
