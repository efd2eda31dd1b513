/** Tests of handlers, with neither broker nor database. By Node's test runner; any other will do. */
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { INestMicroservice } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { ClientKafkaProxy, DurableLedger, DurableModule, kafkaServer } from 'nestjs-durable-kafka';
import { InMemoryKafka, InMemoryLedger } from 'nestjs-durable-kafka/testing';
import { firstValueFrom } from 'rxjs';
import { InvoicesController, type Order } from './invoices.controller.js';
import { TaxService } from './tax.service.js';

describe('InvoicesController', () => {
  let kafka: InMemoryKafka;
  let app: INestMicroservice;
  /** What the tax office answers, one after the other; the last one again and again. */
  let rates: (number | Error)[];

  beforeEach(async () => {
    kafka = new InMemoryKafka();
    for (const topic of ['order.placed', 'invoice.created', 'tax.rate', 'tax.rate.reply'])
      kafka.createTopic(topic);
    rates = [0.25];
    const answer = () => (rates.length > 1 ? rates.shift() : rates[0]);
    const module = await Test.createTestingModule({
      imports: [DurableModule.forRoot({ ledger: new InMemoryLedger() })],
      controllers: [InvoicesController],
      providers: [{ provide: TaxService, useValue: { rate: () => settle(answer()!) } }],
    }).compile();
    app = module.createNestMicroservice(
      kafkaServer({
        driver: kafka,
        subscribe: { fromBeginning: true },
        retry: { attempts: 3, initial: 1 },
        run: { autoCommitInterval: 10 },
      }),
    );
    app.useLogger(false);
    await app.listen();
  });

  afterEach(() => app.close());

  function place(order: Order): void {
    kafka.produce('order.placed', {
      value: JSON.stringify(order),
      headers: { 'idempotency-key': order.id },
    });
  }

  /** Resolves when everything that was placed has been handled, one way or another. */
  async function handled(): Promise<void> {
    const { length } = kafka.records('order.placed');
    while (kafka.committed('nestjs-group-server', 'order.placed')[0]!.offset < length) await sleep(1);
  }

  const invoices = () =>
    kafka
      .records('invoice.created')
      .map(({ value }) => JSON.parse(String(value)) as { order: string; gross: number });

  it('writes one invoice for an order, however often it comes', async () => {
    for (let times = 0; times < 3; times++) place({ id: 'a', country: 'SE', net: 100 });
    await handled();
    assert.deepEqual(invoices(), [{ order: 'a', gross: 125 }]);
  });

  it('tries again when the tax office is closed', async () => {
    rates = [new Error('closed'), new Error('closed'), 0.5];
    place({ id: 'b', country: 'NO', net: 200 });
    await handled();
    assert.deepEqual(invoices(), [{ order: 'b', gross: 300 }]);
  });

  it('gives an impossible order up, and goes on with the next', async () => {
    place({ id: 'c', country: 'DK', net: -1 });
    place({ id: 'd', country: 'DK', net: 1 });
    await handled();
    assert.deepEqual(invoices(), [{ order: 'd', gross: 1.25 }]);
    const { executions } = await app.get(DurableLedger).list({ state: 'dead' });
    assert.deepEqual(
      executions.map(({ key, error }) => [key, error?.message]),
      [['c', 'An order has no negative price']],
    );
  });

  it('answers requests', async () => {
    const client = new ClientKafkaProxy({ driver: kafka });
    client.subscribeToResponseOf('tax.rate');
    assert.deepEqual(await firstValueFrom(client.send('tax.rate', 'FI')), { country: 'FI', rate: 0.25 });
    await client.close();
  });
});

function settle(rate: number | Error): Promise<number> {
  return rate instanceof Error ? Promise.reject(rate) : Promise.resolve(rate);
}
