import { channel } from 'node:diagnostics_channel';
import { Controller, UseFilters } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution, DurableLedger, KafkaMaxRetryExceptionFilter } from '../../../lib/index.js';
import { operatorEvents } from '../../../lib/runtime/operator-events.js';
import { DurableWorld, SERVER_GROUP } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

const SECRET = 'nobody-may-see-this';

describe('events for operators', () => {
  let world: DurableWorld;
  let seen: [name: string, facts: Record<string, unknown>][];
  let unsubscribe: (() => void)[];

  beforeEach(async () => {
    world = await DurableWorld.create();
    seen = [];
    unsubscribe = Object.keys(operatorEvents).map((name) => {
      const listener = (facts: unknown) => void seen.push([name, facts as Record<string, unknown>]);
      const published = channel(`nestjs-durable-kafka:${name}`);
      published.subscribe(listener);
      return () => published.unsubscribe(listener);
    });
  });

  afterEach(async () => {
    await world.dispose();
    for (const end of unsubscribe) end();
  });

  const of = (name: string) => seen.filter(([each]) => each === name).map(([, facts]) => facts);
  const at = (offset: bigint) => ({
    group: SERVER_GROUP,
    handler: 'Handlers.run',
    topic: 't',
    partition: expect.any(Number) as number,
    offset,
  });

  @Controller()
  class Handlers {
    @EventPattern('t')
    run(@Payload() id: string) {
      if (id === 'bad') throw new TypeError(SECRET);
    }
  }

  it('tell what became of each record of a durable handler, and nothing of what is in it', async () => {
    const headers = { 'idempotency-key': SECRET };
    world.kafka.produce('t', { value: 'a', headers, partition: 0 }, { value: 'a', headers, partition: 0 });
    world.kafka.produce('t', { value: 'bad', partition: 0 });
    await world.start({ controllers: [Handlers], server: { retry: { attempts: 2, initial: 1, max: 1 } } });
    await world.consumed('t');
    await world.closeAll();
    expect(of('completed')).toMatchObject([
      { ...at(0n), attempt: 1, duration: expect.any(Number) as number },
    ]);
    expect(of('duplicate')).toEqual([at(1n)]);
    expect(of('failed')).toMatchObject([
      {
        ...at(2n),
        attempt: 1,
        errorClass: 'TypeError',
        decision: 'retry',
        delay: expect.any(Number) as number,
      },
      { ...at(2n), attempt: 2, errorClass: 'TypeError', decision: 'dead-letter', delay: undefined },
    ]);
    expect(of('dead')).toEqual([{ ...at(2n), attempts: 2, reason: 'exhausted', errorClass: 'TypeError' }]);
    expect(of('delivered').map(({ offset }) => offset)).toEqual(expect.arrayContaining([0n, 2n]));
    const partitions = world.kafka.records('t').map(({ partition }) => ({ topic: 't', partition }));
    expect(of('rebalanced')).toMatchObject([
      {
        group: SERVER_GROUP,
        change: 'assigned',
        partitions: expect.arrayContaining([partitions[0]]) as unknown,
      },
      { group: SERVER_GROUP, change: 'revoked' },
    ]);
    const text = JSON.stringify(seen, (_name, value: unknown) =>
      typeof value === 'bigint' ? `${value}` : value,
    );
    expect(text).not.toContain(SECRET);
  });

  it('tell of handlers that are not durable too', async () => {
    world.kafka.produce('t', { value: 'bad' }, { value: 'a' });
    const server = { deadLetter: true, retry: { attempts: 1 } };
    await world.start({ controllers: [Handlers], durable: false, server });
    await world.consumed('t');
    expect(of('dead')).toMatchObject([{ handler: 't', offset: 0n, attempts: 1, reason: 'exhausted' }]);
    expect(of('completed')).toMatchObject([{ handler: 't', offset: 1n, attempt: 1 }]);
  });

  it('tell when work is held and when it goes on', async () => {
    let down = true;
    @Controller()
    class Down {
      constructor(readonly durable: DurableExecution) {}
      @EventPattern('t')
      run(@Payload() _id: string) {
        if (!down) return;
        down = false;
        throw Object.assign(new Error('no database'), { code: '57P03' });
      }
    }
    world.kafka.produce('t', { value: 'a' });
    const app = await world.start({ controllers: [Down] });
    await world.consumed('t');
    expect(of('gate-closed')).toMatchObject([{ group: SERVER_GROUP }]);
    expect(of('gate-opened')).toMatchObject([
      { group: SERVER_GROUP, duration: expect.any(Number) as number },
    ]);
    expect(of('failed')).toEqual([]);
    expect(app.get(DurableLedger).counters()).toMatchObject({ handled: 1, gateClosed: 1, retried: 0 });
  });

  it('tell what is skipped', async () => {
    @Controller()
    class Skipping {
      @UseFilters(new KafkaMaxRetryExceptionFilter(2))
      @EventPattern('t')
      run(@Payload() _id: string) {
        throw new TypeError(SECRET);
      }
    }
    world.kafka.produce('t', { value: 'a' });
    await world.start({ controllers: [Skipping] });
    await world.consumed('t');
    expect(of('skipped')).toMatchObject([
      {
        group: SERVER_GROUP,
        handler: 'Skipping.run',
        topic: 't',
        offset: 0n,
        attempts: 2,
        errorClass: 'TypeError',
      },
    ]);
    expect(of('dead')).toEqual([]);
  });

  it('tell what is parked, behind what, and what waits for an operator', async () => {
    world.kafka.createTopic('t', 1);
    world.kafka.produce('t', { key: 'k', value: 'bad' }, { key: 'k', value: 'a' }, { key: 'l', value: 'a' });
    const parking = { retryAfter: 1, attempts: 2 };
    const server = { onExhausted: 'park', retry: { attempts: 2, initial: 1 }, parking } as const;
    await world.start({ controllers: [Handlers], server });
    await world.consumed('t');
    await eventually(() => of('parked').some(({ why }) => why === 'held'));
    const parked = of('parked').filter(({ why }) => why !== 'behind');
    expect(parked[0]).toEqual({ ...at(0n), failures: 2, why: 'exhausted' });
    expect(parked.at(-1)).toEqual({ ...at(0n), failures: 4, why: 'held' });
    expect(of('parked').filter(({ why }) => why === 'behind')).toEqual([
      { ...at(1n), failures: 0, why: 'behind' },
    ]);
    expect(of('completed').map(({ offset }) => offset)).toEqual([2n]);
  });

  it('tell what is put back', async () => {
    world.kafka.createTopic('t', 1);
    world.kafka.produce('t', { value: 'bad' });
    const app = await world.start({ controllers: [Handlers], server: { retry: { attempts: 1 } } });
    await world.consumed('t');
    await app.get(DurableLedger).redrive();
    expect(of('redriven')).toEqual([{ ...at(0n), redrives: 1 }]);
  });

  it('tell how far the group is behind', async () => {
    world.kafka.produce('t', { value: 'a', partition: 0 });
    await world.start({ controllers: [Handlers] });
    await eventually(() => of('lag').some(({ topic, lag }) => topic === 't' && lag === 0n));
  });
});
