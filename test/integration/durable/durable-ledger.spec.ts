import { Controller, Injectable } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import {
  DurableExecution,
  DurableLedger,
  DurableModule,
  OutsideHandlerError,
  WrongCallOrderError,
} from '../../../lib/index.js';
import { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { DurableWorld, headerText, valueOf } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

describe('DurableLedger', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  @Injectable()
  class Shop {
    constructor(
      readonly ledger: DurableLedger,
      readonly durable: DurableExecution,
    ) {}

    async order(id: string, error?: Error): Promise<string> {
      return this.ledger.transaction(async (client) => {
        await world.write(client, `order ${id}`);
        await this.durable.emit('ordered', { key: id, value: { id } });
        await world.write(this.durable.client, `line ${id}`);
        await this.durable.emit('counted', { value: id });
        if (error) throw error;
        return `done ${id}`;
      });
    }
  }

  @Controller()
  class Handlers {
    constructor(private readonly durable: DurableExecution) {}

    @EventPattern('t')
    async onT(@Payload() id: string) {
      await world.write(this.durable.client, id);
      if (id === 'flaky' && this.durable.attempt === 1) throw new Error('once');
      if (id === 'bad') throw new Error('never');
    }

    @MessagePattern('ask')
    ask(@Payload() { id }: { id: string }) {
      if (id === 'no') throw new Error('no');
      return id;
    }
  }

  it('finds, lists and counts what handlers did, and counts along', async () => {
    const app = await world.start({ controllers: [Handlers], providers: [Shop] });
    const { ledger } = app.get(Shop);
    const send = (value: string, key: string) =>
      world.kafka.produce('t', { value, headers: { 'idempotency-key': key } });
    send('a', 'k1');
    send('a', 'k1');
    send('flaky', 'k2');
    send('bad', 'k3');
    send('a', 'k1');
    world.request('ask', { id: 'no' });
    world.request('ask', { id: 'yes' });
    await world.consumed('t');
    await world.consumed('ask');
    expect(ledger.counters()).toEqual({
      handled: 3,
      suppressed: 2,
      retried: 3,
      failed: 1,
      dead: 1,
      parked: 0,
      redriven: 0,
      fenced: 0,
      gateClosed: 0,
    });
    expect(await ledger.find('k3', { handler: 'Handlers.onT' })).toMatchObject([
      {
        state: 'dead',
        attempts: 3,
        reason: 'exhausted',
        offset: 3n,
        topic: 't',
        error: { message: 'never' },
      },
    ]);
    const [failed] = (await ledger.list({ state: 'failed' })).executions;
    expect(failed).toMatchObject({ handler: 'Handlers.ask', offset: 0n });
    expect(await ledger.find(failed!.key)).toEqual([failed]);
    expect(await ledger.counts()).toMatchObject([
      { handler: 'Handlers.ask', completed: 0, failed: 1 },
      { handler: 'Handlers.onT', completed: 2, dead: 1 },
    ]);
    await expect(ledger.list({ limit: 0 })).rejects.toThrow(/limit.*from 1 to 1000/);
    await expect(ledger.list({ state: 'ded' as never })).rejects.toThrow(/list.state" is 'ded'/);
    const misspelt = { hanlder: 'Handlers.onT' } as object;
    for (const call of [
      ledger.list(misspelt),
      ledger.find('k', misspelt),
      ledger.counts(misspelt),
      ledger.inWork(misspelt),
    ]) {
      await expect(call).rejects.toThrow(/hanlder" is not an option.*Did you mean "handler"/);
    }
  });

  it('counts what was refused because another process had taken the partition, and goes on as its owner', async () => {
    const { ledger } = (await world.start({ controllers: [Handlers], providers: [Shop] })).get(Shop);
    world.kafka.createTopic('t', 1);
    world.kafka.produce('t', { value: 'a' });
    await world.consumed('t');
    await world.query(`update {schema}.fence set epoch = nextval('{schema}.fence_epoch')`);
    world.kafka.produce('t', { value: 'b' });
    await world.consumed('t');
    expect(ledger.counters()).toMatchObject({ handled: 2, fenced: 1, failed: 0, dead: 0 });
    expect(await world.effects()).toEqual(['a', 'b']);
  });

  it('refuses what is misspelt or means nothing, rather than do it to all there is', async () => {
    const { ledger } = (await world.start({ controllers: [Handlers], providers: [Shop] })).get(Shop);
    const nobody = { handler: null } as never;
    for (const call of [
      () => ledger.find('k', nobody),
      () => ledger.find(undefined as never),
      () => ledger.list(nobody),
      () => ledger.list({ since: '2026-11-22' as never }),
      () => ledger.counts(nobody),
      () => ledger.inWork(nobody),
      () => ledger.parked(nobody),
      () => ledger.retryParked(nobody),
      () => ledger.redrive(nobody),
      () => ledger.redrive({}, { dryRun: 'false' as never }),
      () => ledger.skipParked('1', undefined as never),
      () => ledger.dropParked('1', 'by hand', { al: true } as never),
    ]) {
      await expect(call()).rejects.toMatchObject({
        code: expect.stringMatching(/^KT_(OPTION|KEY)_INVALID$/),
      });
    }
  });

  it('runs a transaction outside handlers whose writes and records happen together', async () => {
    const app = await world.start({ controllers: [Handlers], providers: [Shop] });
    const shop = app.get(Shop);
    expect(await shop.order('1')).toBe('done 1');
    await expect(shop.order('2', new Error('no'))).rejects.toThrow('no');
    await Promise.all([shop.order('3'), shop.order('4')]);
    expect((await world.effects()).sort()).toEqual(
      ['1', '3', '4'].flatMap((id) => [`line ${id}`, `order ${id}`]).sort(),
    );
    await eventually(() => world.kafka.records('counted').length === 3);
    const [record] = world.kafka.records('ordered');
    expect(valueOf(record!)).toEqual({ id: '1' });
    expect(headerText(record!, 'message-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(world.kafka.records('ordered')).toHaveLength(3);
    await eventually(async () => (await shop.ledger.oldestUndispatched()).records === 0);
  });

  it('keeps keys and attempts to handlers, and ends with the function', async () => {
    const app = await world.start({ controllers: [Handlers], providers: [Shop] });
    const { ledger, durable } = app.get(Shop);
    await ledger.transaction(() => {
      expect(() => durable.key).toThrow(OutsideHandlerError);
      expect(() => durable.attempt).toThrow(OutsideHandlerError);
    });
    const late = await ledger.transaction(() => ({ query: durable.client.query }));
    await expect(late.query('select 1')).rejects.toThrow(/had ended/);
    expect(() => durable.client).toThrow(OutsideHandlerError);
  });

  it('is refused inside a handler and inside another transaction, by an error that names the alternative', async () => {
    const errors: unknown[] = [];

    @Controller()
    class Nested {
      constructor(private readonly shop: Shop) {}

      @EventPattern('t')
      async onT(@Payload() _: string) {
        await this.shop.order('x').catch((error: unknown) => errors.push(error));
      }
    }
    const app = await world.start({ controllers: [Nested], providers: [Shop] });
    const shop = app.get(Shop);
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    await shop.ledger.transaction(() => shop.order('y').catch((error: unknown) => errors.push(error)));
    expect(errors).toEqual([expect.any(WrongCallOrderError), expect.any(WrongCallOrderError)]);
    expect(String(errors[0])).toMatch(/inside a durable handler.*DurableExecution\.client/);
    expect(await world.effects()).toEqual([]);
  });

  const application = async (durable: object) => {
    const testing = await Test.createTestingModule({
      imports: [DurableModule.forRoot({ ...world.connection, ...durable })],
      providers: [Shop],
    })
      .setLogger(world.log)
      .compile();
    return world.closing(await testing.init());
  };

  it('produces without a server of its own where a producer is named', async () => {
    const app = await application({ producer: { driver: world.kafka } });
    await app.get(Shop).order('1');
    await eventually(() => world.kafka.records('counted').length === 1);
  });

  it('produces to a real broker by that producer, and again after the broker could not be reached', async () => {
    const brokers = process.env['KAFKA_BROKERS']!.split(',');
    const topic = `outbox-${world.schema}`;
    const admin = new KafkajsDriver({ brokers }, systemClock, silentLog).createAdmin();
    await admin.connect();
    try {
      await admin.createTopics([{ topic, partitions: 1 }]);
      let asked = 0;
      const app = await application({
        // Nobody listens at the first address.
        producer: {
          client: { brokers: () => (asked++ === 0 ? ['127.0.0.1:1'] : brokers), retry: { retries: 0 } },
        },
      });
      const { ledger, durable } = app.get(Shop);
      const emit = () => ledger.transaction(() => durable.emit(topic, { value: 'x' }));
      await emit();
      await eventually(async () => {
        await emit();
        return (await admin.watermarks(topic))[0]!.high > 0n;
      });
    } finally {
      await admin.deleteTopics([topic]);
      await admin.disconnect();
    }
  });

  it('leaves records to the sweep of another process where there is no producer', async () => {
    const app = await application({});
    await app.get(Shop).order('1');
    expect((await app.get(Shop).ledger.oldestUndispatched()).records).toBe(2);
    expect(world.kafka.records('counted')).toHaveLength(0);
    // As if they had waited for a while.
    await world.query(`update {schema}.outbox set created_at = created_at - interval '1 minute'`);
    await world.start({ controllers: [Handlers] });
    await eventually(() => world.kafka.records('counted').length === 1);
    expect(world.kafka.records('ordered')).toHaveLength(1);
    await eventually(async () => (await app.get(Shop).ledger.oldestUndispatched()).records === 0);
  });

  it('prunes what is over its time while the application runs', async () => {
    const app = await world.start({
      controllers: [Handlers],
      providers: [Shop],
      durable: { retention: 50, messageIdRetention: 50 },
    });
    world.kafka.produce('t', { value: 'a', headers: { 'idempotency-key': 'k' } });
    await world.consumed('t');
    await eventually(async () => (await app.get(Shop).ledger.counts()).length === 0);
    expect(await world.effects()).toEqual(['a']);
  });

  it('keeps for ever what is to be kept for ever, and prunes the rest', async () => {
    const app = await world.start({
      controllers: [Handlers],
      providers: [Shop],
      durable: { retention: Infinity, messageIdRetention: 50 },
    });
    world.kafka.produce('t', { value: 'a', headers: { 'message-id': 'm' } });
    world.kafka.produce('t', { value: 'b', headers: { 'idempotency-key': 'k' } });
    await world.consumed('t');
    const { ledger } = app.get(Shop);
    await eventually(async () => (await ledger.find('m')).length === 0);
    expect(await ledger.find('k')).toMatchObject([{ state: 'completed' }]);
  });
});
