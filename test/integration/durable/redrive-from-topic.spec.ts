import { Controller, type Type } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import pg from 'pg';
import {
  Durable,
  DurableExecution,
  DurableLedger,
  DurableModule,
  NotDurable,
  type KafkaTransportOptions,
} from '../../../lib/index.js';
import { headerOf } from '../../support/broker-fixture.js';
import { eventually } from '../../support/eventually.js';
import { KafkaApps, type KafkaApp } from '../../support/kafka-app.js';
import { databaseUrl } from '../../support/ledger-schema.js';

const nothing = {
  redriven: 0,
  parked: 0,
  tooOften: 0,
  notConsumed: 0,
  done: 0,
  early: 0,
  notLetters: 0,
  histogram: [],
};

describe('redriving a dead-letter topic', () => {
  let world: KafkaApps;
  let pool: pg.Pool;
  let schema: string;
  let topic: string;
  let group: string;
  let broken: boolean;
  let seen: string[];

  beforeEach(async () => {
    world = await new KafkaApps().connect();
    pool = new pg.Pool({ connectionString: databaseUrl(), max: 2 });
    schema = world.schema();
    topic = await world.topic('redrive');
    group = world.group();
    broken = true;
    seen = [];
    await pool.query(`create schema ${schema}; create table ${schema}.effect (seq bigserial, text text)`);
  });

  afterEach(async () => {
    await pool.end();
    await world.dispose();
  });

  /** Durable; fails for what begins with `bad`. */
  const durableHandlers = (name = 'Orders.run') => {
    @Controller()
    class Orders {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ name })
      @EventPattern<string>(topic)
      async run(@Payload() id: string) {
        await this.durable.client.query(`insert into ${schema}.effect (text) values ($1)`, [id]);
        if (id.startsWith('bad') && broken) throw new TypeError('no');
      }
    }
    return Orders;
  };

  const otherHandlers = () => {
    @NotDurable()
    @Controller()
    class Others {
      @EventPattern<string>(topic)
      run(@Payload() id: string) {
        if (id.startsWith('bad') && broken) throw new RangeError('no');
        seen.push(id);
      }
    }
    return Others;
  };

  const start = async (controllers: Type[], server: KafkaTransportOptions = {}) => {
    const started = await world.start({
      controllers,
      imports: [DurableModule.forRoot({ connection: databaseUrl(), schema, fastFailover: false })],
      server: {
        consumer: { groupId: group },
        deadLetter: true,
        retry: { attempts: 1, initial: 1 },
        ...server,
      },
    });
    return { ...started, ledger: started.app.get(DurableLedger) };
  };
  const emit = (...records: { value: string; headers?: Record<string, string> }[]) =>
    world.produce(
      ...records.map(({ value, headers = {} }) => ({
        topic,
        key: null,
        value: Buffer.from(value),
        headers: Object.entries(headers).map(([name, text]) => [name, Buffer.from(text)] as const),
      })),
    );
  const settled = async (end: number) =>
    eventually(async () => (await world.committed(group, topic)) === end);
  const effects = async () =>
    (await pool.query<{ text: string }>(`select text from ${schema}.effect order by text`)).rows.map(
      ({ text }) => text,
    );
  const from = () => ({ from: `${topic}.dlt` });
  const close = ({ app }: Pick<KafkaApp, 'app'>) => app.close();

  it('puts records back under their original keys, and each once however often it is called', async () => {
    const { ledger } = await start([durableHandlers()]);
    await emit(
      { value: 'bad-given', headers: { 'idempotency-key': 'mine' } },
      { value: 'good' },
      { value: 'bad-id', headers: { 'message-id': 'id-1' } },
      { value: 'bad-position' },
    );
    await settled(4);
    const scope = { group: `${group}-server`, handler: 'Orders.run', topic };
    expect(await ledger.redrive({ ...from(), errorClass: 'TypeError' }, { dryRun: true })).toEqual({
      ...nothing,
      histogram: [{ ...scope, reason: 'exhausted', errorClass: 'TypeError', records: 3 }],
    });
    broken = false;
    expect(await ledger.redrive({ ...from(), key: 'mine' })).toEqual({ ...nothing, redriven: 1 });
    expect(await ledger.redrive(from())).toEqual({ ...nothing, redriven: 2, done: 1 });
    await settled(7);
    expect(await effects()).toEqual(['bad-given', 'bad-id', 'bad-position', 'good']);
    expect(await ledger.redrive(from())).toEqual({ ...nothing, done: 3 });
    expect(await ledger.redrive()).toEqual(nothing);
    expect(ledger.counters()).toMatchObject({ redriven: 3, dead: 3 });
    const back = (await world.read(topic)).slice(4);
    expect(back.map((record) => headerOf(record, 'redrive-count'))).toEqual(['1', '1', '1']);
    expect(back.flatMap(({ headers }) => headers).filter(([name]) => name.startsWith('dlt-'))).toEqual([]);
  });

  it('has nothing to do for what the ledger has put back', async () => {
    const { ledger } = await start([durableHandlers()]);
    await emit({ value: 'bad' });
    await settled(1);
    broken = false;
    expect(await ledger.redrive()).toEqual({ ...nothing, redriven: 1 });
    await settled(2);
    // Long after: the ledger has forgotten that it ran.
    await pool.query(`delete from ${schema}.execution`);
    expect(await ledger.redrive(from())).toEqual({ ...nothing, done: 1 });
  });

  it('puts back what the ledger has forgotten', async () => {
    const { ledger } = await start([durableHandlers()]);
    await emit({ value: 'bad1', headers: { 'idempotency-key': 'one' } }, { value: 'bad2' });
    await settled(2);
    await pool.query(
      `delete from ${schema}.execution; delete from ${schema}.dead_letter; delete from ${schema}.failure`,
    );
    broken = false;
    expect(await ledger.redrive()).toEqual(nothing);
    expect(await ledger.redrive(from())).toEqual({ ...nothing, redriven: 2 });
    await settled(4);
    expect(await effects()).toEqual(['bad1', 'bad2']);
    // Produced twice, as by a crash: they run once.
    await world.produce(...(await world.read(topic)).slice(2).map((record) => ({ ...record, partition: 0 })));
    await settled(6);
    expect(await effects()).toEqual(['bad1', 'bad2']);
  });

  it('puts back the dead of handlers that are not durable, past those that are', async () => {
    const { ledger } = await start([durableHandlers(), otherHandlers()]);
    broken = false;
    await emit({ value: 'good' });
    await settled(1);
    broken = true;
    // The durable one takes it.
    await emit({ value: 'bad' });
    await eventually(async () => (await world.read(`${topic}.dlt`)).length === 2);
    await settled(2);
    broken = false;
    expect(await ledger.redrive({ ...from(), handler: topic })).toEqual({ ...nothing, redriven: 1 });
    await settled(3);
    expect(seen).toEqual(['good', 'bad']);
    expect(await effects()).toEqual(['good']);
    expect(await ledger.redrive({ ...from(), handler: topic })).toEqual({ ...nothing, done: 1 });
    expect(await ledger.redrive(from())).toEqual({ ...nothing, redriven: 1, done: 1 });
    await settled(4);
    expect(await effects()).toEqual(['bad', 'good']);
  });

  it('has every handler of the group run for what could not be decoded', async () => {
    const decoder = {
      deserialize: (packet: unknown) => {
        if (broken) throw new Error('no');
        return { pattern: topic, data: String((packet as { value: unknown }).value) };
      },
    };
    const { ledger } = await start([durableHandlers()], { deserializer: decoder as never });
    await emit({ value: 'x' });
    await settled(1);
    broken = false;
    expect(await ledger.redrive(from())).toEqual({ ...nothing, redriven: 1 });
    await settled(2);
    expect(await effects()).toEqual(['x']);
  });

  it('leaves what comes back again and again, what nobody here consumes, and what is no dead letter', async () => {
    const first = await start([durableHandlers()]);
    await emit({ value: 'bad' });
    await settled(1);
    expect((await first.ledger.redrive(from(), { maxRedrives: 1 })).redriven).toBe(1);
    await settled(2);
    await eventually(async () => (await world.read(`${topic}.dlt`)).length === 2);
    await world.emit(`${topic}.dlt`, 'something else');
    expect(await first.ledger.redrive(from(), { maxRedrives: 1 })).toEqual({
      ...nothing,
      done: 1,
      tooOften: 1,
      notLetters: 1,
    });
    await close(first);
    const renamed = await start([durableHandlers('another')]);
    expect(await renamed.ledger.redrive(from())).toEqual({ ...nothing, notConsumed: 2, notLetters: 1 });
  });

  it('goes on where its limit, its rate or a signal stopped it', async () => {
    const { ledger } = await start([durableHandlers()]);
    await emit(...Array.from({ length: 60 }, (_, index) => ({ value: `bad${index}` })));
    await settled(60);
    await eventually(async () => (await world.end(`${topic}.dlt`)) === 60);
    broken = false;
    expect(await ledger.redrive(from(), { limit: 24 })).toEqual({ ...nothing, redriven: 24 });
    const stop = new AbortController();
    const paced = ledger.redrive(from(), { rate: 5, signal: stop.signal });
    await eventually(() => ledger.counters().redriven > 24);
    stop.abort();
    const { redriven } = await paced;
    expect(redriven).toBeGreaterThan(0);
    expect(redriven).toBeLessThan(36);
    expect(await ledger.redrive(from())).toEqual({
      ...nothing,
      redriven: 36 - redriven,
      done: 24 + redriven,
    });
    await settled(120);
    expect(await effects()).toHaveLength(60);
  });

  it('says what is wrong with what it is asked for', async () => {
    const started = await start([durableHandlers()]);
    const { ledger } = started;
    await expect(ledger.redrive({ from: `${topic}.nothing` })).rejects.toMatchObject({
      code: 'KT_TOPIC_MISSING',
    });
    await expect(ledger.redrive({ from: 'no topic' })).rejects.toMatchObject({ code: 'KT_OPTION_INVALID' });
    await close(started);
    await expect(ledger.redrive(from())).rejects.toMatchObject({ code: 'KT_CLOSED' });
  });
});
