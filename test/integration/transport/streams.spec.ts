import { Controller, Module, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, MessagePattern } from '@nestjs/microservices';
import { Observable } from 'rxjs';
import { kafkaServer, type KafkaDeliveryContext } from '../../../lib/index.js';
import { InMemoryKafka } from '../../../lib/testing/index.js';
import { eventually } from '../../support/eventually.js';

describe('A stream of replies without durability', () => {
  const kafka = new InMemoryKafka();
  let app: INestMicroservice;
  let subscribed = 0;
  let unsubscribed = 0;
  const signals: AbortSignal[] = [];

  @Controller()
  class Handlers {
    @MessagePattern('ticks')
    ticks(@Ctx() context: KafkaDeliveryContext) {
      signals.push(context.signal);
      return new Observable<string>((subscriber) => {
        subscribed++;
        let tick = 0;
        const run = subscribed;
        const timer = setInterval(() => subscriber.next(`${run}/${tick++}`), 5);
        return () => {
          unsubscribed++;
          clearInterval(timer);
        };
      });
    }
  }

  @Module({ controllers: [Handlers] })
  class App {}

  const replies = () => kafka.records('ticks.reply').map(({ value }) => String(value));
  const committed = () => kafka.committed('g-server', 'ticks')[0]!.offset;

  beforeAll(async () => {
    kafka.produce('ticks', {
      value: 'go',
      headers: { kafka_correlationId: 'c', kafka_replyTopic: 'ticks.reply', kafka_replyPartition: '0' },
    });
    app = await NestFactory.createMicroservice(App, {
      ...kafkaServer({
        driver: kafka,
        consumer: { groupId: 'g', heartbeatInterval: 20 },
        run: { autoCommitInterval: 10 },
        subscribe: { fromBeginning: true },
        shutdownTimeout: 50,
      }),
      logger: false,
    });
    await app.listen();
  });

  afterAll(() => app.close());

  it('ends when its partition is lost, and whoever has the partition next begins it anew', async () => {
    await eventually(() => replies().includes('1/3'));
    expect(committed()).toBe(0n);
    kafka.faults.expel(kafka.group('g-server').memberIds[0]!);
    await eventually(() => subscribed === 2);
    expect([unsubscribed, signals[0]!.aborted]).toEqual([1, true]);
    const first = replies().filter((reply) => reply.startsWith('1/')).length;
    await eventually(() => replies().includes('2/5'));
    expect(replies().filter((reply) => reply.startsWith('1/'))).toHaveLength(first);
    expect(committed()).toBe(0n);
  });

  it('ends with the server, and its request stays for the next one', async () => {
    await app.close();
    expect([subscribed, unsubscribed]).toEqual([2, 2]);
    expect(committed()).toBe(0n);
  });
});
