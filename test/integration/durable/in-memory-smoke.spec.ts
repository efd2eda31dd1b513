import { Controller, Module } from '@nestjs/common';
import { ClientsModule, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { firstValueFrom } from 'rxjs';
import pg from 'pg';
import {
  DurableExecution,
  DurableModule,
  kafkaClient,
  kafkaServer,
  type ClientKafkaProxy,
} from '../../../lib/index.js';
import { InMemoryKafka } from '../../../lib/testing/in-memory-kafka/in-memory-kafka.js';

it('works end to end', async () => {
  const kafka = new InMemoryKafka();
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
  const schema = `s_${Math.random().toString(36).slice(2)}`;
  await pool.query(`create table if not exists ${schema}_eff (id text, n int)`);
  const seen: unknown[] = [];

  @Controller()
  class C {
    constructor(private readonly durable: DurableExecution) {}
    @EventPattern('order.placed')
    async placed(@Payload() order: { id: string }) {
      seen.push(order);
      await this.durable.client.query(`insert into ${schema}_eff values ($1, 1)`, [order.id]);
      await this.durable.emit('invoice.created', { key: order.id, value: { orderId: order.id } });
    }
    @MessagePattern('price.quote')
    async quote(@Payload() q: { n: number }) {
      await this.durable.client.query(`insert into ${schema}_eff values ('q', $1)`, [q.n]);
      return { price: q.n * 2 };
    }
  }
  @Module({
    imports: [
      DurableModule.forRoot({ connection: process.env.DATABASE_URL, schema }),
      ClientsModule.register([kafkaClient('C', { driver: kafka, consumer: { groupId: 'c' } })]),
    ],
    controllers: [C],
  })
  class App {}
  const moduleRef = await Test.createTestingModule({ imports: [App] }).compile();
  const app = moduleRef.createNestMicroservice(
    kafkaServer({ driver: kafka, consumer: { groupId: 'g' }, subscribe: { fromBeginning: true } }),
  );
  const client = moduleRef.get<ClientKafkaProxy>('C');
  client.subscribeToResponseOf('price.quote');
  await app.listen();
  for (let i = 0; i < 100; i++)
    await firstValueFrom(
      client.emit('order.placed', {
        key: `${i}`,
        value: { id: `o${i % 50}` },
        headers: { 'idempotency-key': `k${i % 50}` },
      }),
    );
  expect(await firstValueFrom(client.send('price.quote', { n: 21 }))).toEqual({ price: 42 });
  for (;;) {
    const { rows } = await pool.query(
      `select count(*)::int c, count(distinct id)::int d from ${schema}_eff where id <> 'q'`,
    );
    if (rows[0].c >= 50) {
      console.log(rows[0]);
      break;
    }
    await new Promise((r) => setTimeout(r, 50));
  }
  await new Promise((r) => setTimeout(r, 700));
  console.log(
    seen.length,
    kafka.records('invoice.created').length,
    await kafka.committed?.('g-server', 'order.placed'),
  );
  await app.close();
  await pool.query(`drop schema ${schema} cascade`);
  await pool.end();
});
