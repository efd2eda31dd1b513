import { Controller, Logger, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ClientProxyFactory,
  Ctx,
  EventPattern,
  KafkaContext,
  MessagePattern,
  Payload,
  RpcException,
  Transport,
  type ClientKafka,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import { concatMap, delay, firstValueFrom, from, lastValueFrom, of, throwError, toArray } from 'rxjs';
import { ClientKafkaProxy, kafkaServer } from '../../../lib/index.js';
import { BrokerFixture, brokers, headerOf } from '../../support/broker-fixture.js';
import { eventually } from '../../support/eventually.js';

/**
 * The built-in pair says what is right; each mixed pair must show handlers and callers the same, but for what stands in
 * `DELIBERATE`.
 */
type Side = 'built-in' | 'ours';

class Plain {
  constructor(readonly amount = 5) {}
}
class Money {
  constructor(readonly amount = 5) {}
  toString(): string {
    return `EUR ${this.amount}`;
  }
}
class Point {
  constructor(readonly x = 1) {}
  toJSON(): unknown {
    return { at: this.x };
  }
}

/** Made anew for each use: the built-in client changes what it is given. */
const PAYLOADS: Record<string, () => unknown> = {
  text: () => 'plain text',
  'empty text': () => '',
  unicode: () => 'ünïcødé 🎉 \u0000 \u2028',
  'text like a number': () => '0042',
  'text like JSON': () => '{"a":1}',
  'text like broken JSON': () => '{"a":',
  'text like an array': () => '[1,2]',
  number: () => 42,
  fraction: () => -0.5,
  zero: () => 0,
  'large number': () => 1e21,
  NaN: () => Number.NaN,
  bigint: () => 10n,
  true: () => true,
  false: () => false,
  object: () => ({ id: 'a', n: 1, nothing: null, gone: undefined }),
  'empty object': () => ({}),
  array: () => [1, 'two', { three: 3 }, null],
  'empty array': () => [],
  nested: () => ({ a: { b: [{ c: { d: 'ü' } }] }, at: new Date(0) }),
  'text bytes': () => Buffer.from('{"from":"bytes"}'),
  'bytes with a leading zero': () => Buffer.from([0, 1, 2, 0xff]),
  'bytes that are not UTF-8': () => Buffer.from([0xc3, 0x28, 0xff]),
  'empty bytes': () => Buffer.alloc(0),
  date: () => new Date(0),
  'class instance': () => new Plain(),
  'class instance with toString': () => new Money(),
  'class instance with toJSON': () => new Point(),
  map: () => new Map([['a', 1]]),
  'message: value': () => ({ value: { a: 1 } }),
  'message: key, value': () => ({ key: 'k', value: 'v' }),
  'message: object key': () => ({ key: { id: 7 }, value: { a: 1 } }),
  'message: number key': () => ({ key: 7, value: 1 }),
  'message: byte key': () => ({ key: Buffer.from([1, 2]), value: Buffer.from('x') }),
  'message: headers': () => ({
    value: 'v',
    headers: { text: 'ü', json: '{"a":1}', bytes: Buffer.from([0, 9]), 'UPPER-case': 'x', empty: '' },
  }),
  'message: partition': () => ({ key: 'k', value: 'v', partition: 0 }),
  'message: timestamp': () => ({ value: 'v', timestamp: '1700000000000' }),
  tombstone: () => ({ key: 'k', value: null }),
  'message: undefined value': () => ({ key: 'k', value: undefined }),
  'object with a key': () => ({ key: 'k', name: 'n' }),
  'object with a value and more': () => ({ value: 1, currency: 'EUR' }),
  'repeated header': () => ({ value: 'v', headers: { tag: ['a', 'b'] } }),
  'header named constructor': () => ({ value: 'v', headers: { constructor: 'x' } }),
  'typed array': () => new Uint8Array([1, 2]),
};

/** What comes of it where our client, or our server, does not do as the built-in one. */
const DELIBERATE: Record<string, Partial<Record<'client' | 'server', Partial<Seen>>>> = {
  tombstone: { server: { data: null } },
  'message: undefined value': { server: { data: null } },
  'object with a key': { server: { data: null }, client: { data: { key: 'k', name: 'n' }, key: null } },
  'object with a value and more': { client: { data: { value: 1, currency: 'EUR' } } },
  'repeated header': { server: { headers: { tag: ['a', 'b'] } } },
  'header named constructor': { server: { headers: { constructor: 'x' } } },
  'typed array': { client: { data: '\u0001\u0002' } },
};

const ANSWERS: Record<string, () => unknown> = {
  text: () => 'answer',
  number: () => 5,
  zero: () => 0,
  false: () => false,
  'empty text': () => '',
  object: () => ({ a: [1, { b: 'ü' }] }),
  undefined: () => undefined,
  null: () => null,
  bytes: () => Buffer.from([0, 1, 255]),
  promise: () => Promise.resolve({ later: true }),
  'one value stream': () => of('only'),
  stream: () => of(1, { two: 2 }, 'three'),
  'slow stream': () => from(['a', 'b', 'c']).pipe(concatMap((value) => of(value).pipe(delay(20)))),
  'promise of a stream': () => Promise.resolve(of('x', 'y')),
  'array of objects': () => [{ a: 1 }, { b: 2 }],
  'keyed reply with headers': () => ({
    key: 'k',
    value: { a: 1 },
    headers: { note: 'n', bytes: Buffer.from([7]) },
  }),
  'class instance': () => new Plain(3),
  'RpcException of a text': () => throwError(() => new RpcException('no such thing')),
  'RpcException of an object': () => throwError(() => new RpcException({ code: 404, message: 'gone' })),
  'RpcException thrown': () => {
    throw new RpcException({ status: 'error', code: 1 });
  },
  'ordinary error': () => {
    throw new Error('secret');
  },
  'rejected promise': () => Promise.reject(new RpcException('rejected')),
  'error inside a stream': () =>
    from([1, 2]).pipe(
      concatMap((n) => (n === 2 ? throwError(() => new RpcException('after one')) : of(n).pipe(delay(20)))),
    ),
};

/** What a handler is shown. */
interface Seen {
  kind: string;
  data: unknown;
  key: unknown;
  headers: Record<string, unknown>;
  context: Record<string, unknown>;
}

/** What a caller is shown. */
interface Heard {
  values?: unknown[];
  error?: unknown;
}

function observe(kind: string, data: unknown, context: KafkaContext): Seen {
  const message = context.getMessage();
  const { kafka_correlationId, kafka_replyTopic, kafka_replyPartition, ...rest } = message.headers ?? {};
  delete rest['message-id'];
  return {
    kind,
    data: data instanceof Object && 'offset' in data ? 'the raw message' : data,
    key: message.key ?? null,
    headers: { ...rest },
    context: {
      topic: context.getTopic().replace(/^.*?(event|echo).*$/, '$1'),
      partition: context.getPartition(),
      timestamp: typeof message.timestamp,
      offset: typeof message.offset,
      attributes: message.attributes,
      value: message.value ?? null,
      correlationId: typeof kafka_correlationId,
      replyTopic: typeof kafka_replyTopic,
      replyPartition: kafka_replyPartition,
      consumer: typeof context.getConsumer()?.commitOffsets,
      producer: typeof context.getProducer()?.send,
      heartbeat: typeof context.getHeartbeat(),
    },
  };
}

interface Service {
  topics: Record<'event' | 'echo' | 'answer', string>;
  seen: Seen[];
}

function controllerFor({ topics, seen }: Service): Type {
  @Controller()
  class Handlers {
    @EventPattern<string>(topics.event)
    event(@Payload() data: unknown, @Ctx() context: KafkaContext) {
      seen.push(observe('event', data, context));
    }

    @MessagePattern(topics.echo)
    echo(@Payload() data: unknown, @Ctx() context: KafkaContext) {
      seen.push(observe('request', data, context));
      return { value: context.getMessage().value ?? null };
    }

    @MessagePattern(topics.answer)
    answer(@Payload() name: string) {
      return ANSWERS[name]!();
    }
  }
  return Handlers;
}

type AnyClient = ClientKafka | ClientKafkaProxy;

const fixture = new BrokerFixture();
const services: Partial<Record<Side, Service>> = {};
const clients: Partial<Record<`${Side}>${Side}`, AnyClient>> = {};

async function startService(side: Side): Promise<void> {
  const topics = {
    event: await fixture.topic(`${side}-event`),
    echo: await fixture.topic(`${side}-echo`, { reply: true }),
    answer: await fixture.topic(`${side}-answer`, { reply: true }),
  };
  const service: Service = { topics, seen: [] };
  @Module({ controllers: [controllerFor(service)] })
  class App {}
  const options = {
    client: { brokers: brokers() },
    consumer: { groupId: fixture.group(), maxWaitTimeInMs: 200 },
    subscribe: { fromBeginning: true },
  };
  const strategy: MicroserviceOptions =
    side === 'ours' ? kafkaServer(options) : { transport: Transport.KAFKA, options };
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(App, { ...strategy, logger: false });
  fixture.closing(app);
  await app.listen();
  services[side] = service;
}

async function startClient(side: Side, server: Side): Promise<void> {
  const { topics } = services[server]!;
  const options = {
    client: { brokers: brokers() },
    consumer: { groupId: fixture.group(), maxWaitTimeInMs: 200 },
  };
  const client: AnyClient =
    side === 'ours'
      ? new ClientKafkaProxy(options)
      : (ClientProxyFactory.create({ transport: Transport.KAFKA, options }) as ClientKafka);
  fixture.closing(client as { close(): Promise<unknown> });
  client.subscribeToResponseOf(topics.echo);
  client.subscribeToResponseOf(topics.answer);
  await client.connect();
  clients[`${side}>${server}`] = client;
}

async function hear(client: AnyClient, topic: string, data: unknown): Promise<Heard> {
  const values: unknown[] = [];
  try {
    await lastValueFrom(
      client.send(topic, data as never).pipe(
        concatMap((value) => {
          values.push(value);
          return of(value);
        }),
        toArray(),
      ),
    );
    return { values };
  } catch (error) {
    return { values, error: error instanceof Error ? `${error.name}: ${error.message}` : error };
  }
}

beforeAll(async () => {
  Logger.overrideLogger(false);
  await fixture.connect();
  await Promise.all([startService('built-in'), startService('ours')]);
  await Promise.all([
    startClient('built-in', 'built-in'),
    startClient('built-in', 'ours'),
    startClient('ours', 'built-in'),
    startClient('ours', 'ours'),
  ]);
});

afterAll(() => fixture.dispose());

async function emitted(client: Side, server: Side, name: string): Promise<Seen> {
  const { topics, seen } = services[server]!;
  const before = seen.length;
  await firstValueFrom(clients[`${client}>${server}`]!.emit(topics.event, PAYLOADS[name]!() as never));
  return (await eventually(() => seen[before]))!;
}

async function requested(client: Side, server: Side, name: string): Promise<{ seen: Seen; heard: Heard }> {
  const { topics, seen } = services[server]!;
  const before = seen.length;
  const heard = await hear(clients[`${client}>${server}`]!, topics.echo, PAYLOADS[name]!());
  return { seen: seen[before]!, heard };
}

const MIXED: [Side, Side][] = [
  ['built-in', 'ours'],
  ['ours', 'built-in'],
  ['ours', 'ours'],
];

function differing(name: string, client: Side, server: Side): Partial<Seen> | undefined {
  const { client: byClient, server: byServer } = DELIBERATE[name] ?? {};
  return (client === 'ours' ? byClient : undefined) ?? (server === 'ours' ? byServer : undefined);
}

/** What a difference in the record itself does to the context's copy of it. */
function expected(reference: Seen, difference: Partial<Seen> | undefined): Seen {
  if (!difference) return reference;
  const value = 'data' in difference ? difference.data : reference.context['value'];
  return { ...reference, ...difference, context: { ...reference.context, value } };
}

describe.each(Object.keys(PAYLOADS))('payload: %s', (name) => {
  it('is the same event to the handler of every pair', async () => {
    const reference = await emitted('built-in', 'built-in', name);
    for (const [client, server] of MIXED) {
      const seen = await emitted(client, server, name);
      expect({ client, server, seen }).toEqual({
        client,
        server,
        seen: expected(reference, differing(name, client, server)),
      });
    }
  });

  it('is the same request to the handler, and comes back the same', async () => {
    const reference = await requested('built-in', 'built-in', name);
    for (const [client, server] of MIXED) {
      const { seen, heard } = await requested(client, server, name);
      const wanted = expected(reference.seen, differing(name, client, server));
      expect({ client, server, seen }).toEqual({ client, server, seen: wanted });
      expect({ client, server, heard }).toEqual({
        client,
        server,
        heard: { values: [seen.context['value']] },
      });
    }
  });
});

describe.each(Object.keys(ANSWERS))('answer: %s', (name) => {
  it('reaches every caller the same', async () => {
    const reference = await hear(clients['built-in>built-in']!, services['built-in']!.topics.answer, name);
    for (const [client, server] of MIXED) {
      const heard = await hear(clients[`${client}>${server}`]!, services[server]!.topics.answer, name);
      expect({ client, server, heard }).toEqual({ client, server, heard: reference });
    }
  });
});

it('writes the same reply records as the built-in server', async () => {
  const written = async (server: Side) => {
    const topic = `${services[server]!.topics.answer}.reply`;
    const before = (await fixture.read(topic)).length;
    for (const name of Object.keys(ANSWERS)) {
      await hear(clients[`built-in>${server}`]!, services[server]!.topics.answer, name);
    }
    const records = (await fixture.read(topic)).slice(before);
    return records.map((record) => ({
      key: record.key?.toString() ?? null,
      value: record.value?.toString('latin1') ?? null,
      error: headerOf(record, 'kafka_nest-err'),
      disposed: headerOf(record, 'kafka_nest-is-disposed') !== undefined,
      note: headerOf(record, 'note'),
    }));
  };
  expect(await written('ours')).toEqual(await written('built-in'));
});

describe.each([['built-in'], ['ours']] as [Side][])('emit and emitBatch of the %s client', (client) => {
  it.each([
    ['null', null],
    ['undefined', undefined],
  ])('reject %s', async (_, data) => {
    const { topics } = services.ours!;
    await expect(
      firstValueFrom(clients[`${client}>ours`]!.emit(topics.event, data as never)),
    ).rejects.toThrow();
  });

  it('tell where the records went', async () => {
    const { topics, seen } = services.ours!;
    const start = seen.length;
    const one = await firstValueFrom(clients[`${client}>ours`]!.emit(topics.event, 'x'));
    expect(one).toEqual([
      expect.objectContaining({
        topicName: topics.event,
        partition: 0,
        errorCode: 0,
        baseOffset: expect.any(String),
      }),
    ]);
    await eventually(() => seen.length > start);
    const before = seen.length;
    const two = await firstValueFrom(
      clients[`${client}>ours`]!.emitBatch(topics.event, { messages: ['y', { key: 'k', value: 'z' }] }),
    );
    expect(two).toEqual([expect.objectContaining({ topicName: topics.event, partition: 0, errorCode: 0 })]);
    await eventually(() => seen.length >= before + 2);
    expect(seen.slice(before).map(({ data, key }) => [key, data])).toEqual([
      [null, 'y'],
      ['k', 'z'],
    ]);
  });
});
