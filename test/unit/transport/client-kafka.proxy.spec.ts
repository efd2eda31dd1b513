import { Logger } from '@nestjs/common';
import { ClientsModule, type ClientsModuleOptions } from '@nestjs/microservices';
import { firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import {
  ConnectionClosedError,
  InvalidOptionError,
  InvalidPatternError,
  InvalidRecordError,
  ProduceError,
  ReplyPartitionMissingError,
  ReplyTimeoutError,
  UnsupportedError,
  WrongCallOrderError,
} from '../../../lib/errors/errors.js';
import { headerValue, type OutgoingRecord, type RecordHeader } from '../../../lib/messages/record.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { ClientKafkaProxy } from '../../../lib/transport/client-kafka.proxy.js';
import type { KafkaTransportOptions } from '../../../lib/transport/kafka-transport.options.js';
import { kafkaClient } from '../../../lib/transport/kafka-client.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedDriver } from './scripted-driver.js';

// What clients say of partitions that others hold is asked of their status here.
beforeAll(() => Logger.overrideLogger(false));

const DISPOSED: RecordHeader = ['kafka_nest-is-disposed', Buffer.alloc(1)];

function setUp(options: KafkaTransportOptions = {}) {
  const driver = new ScriptedDriver();
  driver.topics.set('sum.reply', 2);
  driver.assignment = ['sum.reply:1', 'sum.reply:0'];
  const client = new ClientKafkaProxy({ driver, ...options });
  return { driver, client };
}

function header(record: OutgoingRecord, name: string): string | undefined {
  return headerValue(record.headers, name)?.toString();
}

/** Answers a request where and as it asked to be answered. */
function answer(
  driver: ScriptedDriver,
  request: OutgoingRecord,
  value: string | null,
  ...more: RecordHeader[]
) {
  driver.reader.receive(
    header(request, 'kafka_replyTopic')!,
    Number(header(request, 'kafka_replyPartition')),
    [['kafka_correlationId', headerValue(request.headers, 'kafka_correlationId')!], ...more],
    value,
  );
}

function echo(driver: ScriptedDriver): void {
  driver.onSend = (record) => answer(driver, record, String(record.value), DISPOSED);
}

async function eventually(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn > 1_000) throw new Error(`Never true: ${String(condition)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('It did not fail');
    },
    (error: Error) => error,
  );
}

describe('sending a request', () => {
  it('connects by itself, and yields the reply', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    echo(driver);
    expect(await firstValueFrom(client.send('sum', { a: 1 }))).toEqual({ a: 1 });
    expect(client.pendingRequests).toBe(0);
    await client.close();
  });

  it('carries the headers of the built-in client and a message id', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    echo(driver);
    const data = Object.freeze({
      key: 'k',
      value: [1],
      headers: Object.freeze({ mine: 'x', kafka_replyTopic: 'elsewhere', kafka_correlationId: 'forged' }),
    });
    await firstValueFrom(client.send('sum', data));
    const [record] = driver.sent;
    expect(record).toMatchObject({ topic: 'sum', key: Buffer.from('k'), value: Buffer.from('[1]') });
    expect(record!.headers.map(([name]) => name)).toEqual([
      'mine',
      'kafka_correlationId',
      'kafka_replyTopic',
      'kafka_replyPartition',
      'message-id',
    ]);
    expect(header(record!, 'kafka_replyTopic')).toBe('sum.reply');
    expect(header(record!, 'kafka_replyPartition')).toBe('0');
    expect(header(record!, 'kafka_correlationId')).toMatch(/^[0-9a-f-]{36}$/);
    expect(header(record!, 'message-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(header(record!, 'message-id')).not.toBe(header(record!, 'kafka_correlationId'));
  });

  it('yields each value of a stream, in order', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    driver.onSend = (record) => {
      for (const value of ['1', '2']) answer(driver, record, value);
      answer(driver, record, null, ['kafka_nest-is-disposed', Buffer.from([1])]);
    };
    expect(await lastValueFrom(client.send('sum', {}).pipe(toArray()))).toEqual(['1', '2']);
  });

  it('fails with the error of the handler', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    const error = Buffer.from('{"status":"error","message":"no"}');
    driver.onSend = (record) => answer(driver, record, null, ['kafka_nest-err', error], DISPOSED);
    expect(await failure(firstValueFrom(client.send('sum', {})))).toEqual({ status: 'error', message: 'no' });
  });

  it('fails with the error of the produce', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    await client.connect();
    driver.failures.send = new ProduceError('too large');
    expect(await failure(firstValueFrom(client.send('sum', {})))).toBe(driver.failures.send);
    expect(client.pendingRequests).toBe(0);
  });

  it('fails where a value or a header cannot be sent', async () => {
    const { client } = setUp();
    client.subscribeToResponseOf('sum');
    expect(await failure(firstValueFrom(client.send('sum', { n: 1n })))).toBeInstanceOf(InvalidRecordError);
    const wrong = { value: 1, headers: { h: 5 } };
    expect(String(await failure(firstValueFrom(client.send('sum', wrong))))).toContain('"h"');
    expect(client.pendingRequests).toBe(0);
  });

  it('times out with the topic in the error, and counts the reply that comes after', async () => {
    const clock = new ManualClock();
    const { driver, client } = setUp({ clock, requestTimeout: 500 });
    client.subscribeToResponseOf('sum');
    const error = failure(firstValueFrom(client.send('sum', {})));
    await eventually(() => driver.sent.length === 1);
    clock.advance(500);
    expect(await error).toBeInstanceOf(ReplyTimeoutError);
    answer(driver, driver.sent[0]!, 'late', DISPOSED);
    answer(driver, driver.sent[0]!, 'late again', DISPOSED);
    expect(client.unclaimedReplies).toEqual({ late: 2, unknown: 0, forged: 0 });
  });

  it('forgets a request that is unsubscribed from', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    const subscription = client.send('sum', {}).subscribe();
    await eventually(() => driver.sent.length === 1);
    expect(client.pendingRequests).toBe(1);
    subscription.unsubscribe();
    expect(client.pendingRequests).toBe(0);
  });

  it('needs the reply topic to be subscribed to before', async () => {
    const { client } = setUp();
    client.subscribeToResponseOf('sum');
    const error = await failure(firstValueFrom(client.send('other', {})));
    expect(error).toBeInstanceOf(WrongCallOrderError);
    expect(error.message).toContain("subscribeToResponseOf('other')");
    expect(client.pendingRequests).toBe(0);
  });

  it.each([[/sum/], [{ cmd: 'sum' }], ['a b'], [''], ['..'], ['x'.repeat(250)]])(
    'refuses the pattern %p',
    async (pattern) => {
      const { client } = setUp();
      expect(() => client.subscribeToResponseOf(pattern)).toThrow(InvalidPatternError);
      expect(await failure(firstValueFrom(client.send(pattern, {})))).toBeInstanceOf(InvalidPatternError);
      expect(await failure(firstValueFrom(client.emit(pattern, {})))).toBeInstanceOf(InvalidPatternError);
    },
  );

  it('has names of reply topics overridden by a subclass', async () => {
    class Renaming extends ClientKafkaProxy {
      constructor(options: KafkaTransportOptions) {
        super(options);
        this.groupId = 'my-group';
      }
      protected override getResponsePatternName(pattern: string): string {
        return `${pattern}-answers`;
      }
    }
    const { driver } = setUp();
    driver.assignment = ['sum-answers:0'];
    const client = new Renaming({ driver });
    client.subscribeToResponseOf('sum');
    echo(driver);
    await firstValueFrom(client.send('sum', 'x'));
    expect(header(driver.sent[0]!, 'kafka_replyTopic')).toBe('sum-answers');
    expect(driver.consumer.options).toMatchObject({ topics: ['sum-answers'], groupId: 'my-group' });
  });

  it('goes through the serializer and deserializer of the user', async () => {
    const { driver, client } = setUp({
      serializer: { serialize: (value: unknown) => Promise.resolve({ value: `<${String(value)}>` }) },
      deserializer: {
        deserialize: (message: { value: unknown }) =>
          Promise.resolve({ id: 'ignored', response: { raw: message.value }, isDisposed: true }),
      },
      parser: { keepBinary: true },
    });
    client.subscribeToResponseOf('sum');
    echo(driver);
    expect(await firstValueFrom(client.send('sum', 'x'))).toEqual({ raw: Buffer.from('<x>') });
  });
});

describe('reply partitions in a rebalance', () => {
  it('stay in use, so that requests go out and replies come in all the while', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    await client.connect();
    const early = firstValueFrom(client.send('sum', 'early'));
    await eventually(() => driver.sent.length === 1);
    await driver.consumer.revoke();
    answer(driver, driver.sent[0]!, 'early', DISPOSED);
    expect(await early).toBe('early');
    echo(driver);
    expect(await firstValueFrom(client.send('sum', 'meanwhile'))).toBe('meanwhile');
    expect(client.getConsumerAssignments()).toEqual({ 'sum.reply': 0 });
    await driver.consumer.assign('sum.reply:1', 'sum.reply:0');
    expect(client.getConsumerAssignments()).toEqual({ 'sum.reply': 0 });
    expect([...driver.reader.reading]).toEqual(['sum.reply:0']);
  });

  it('that go to another client are read until what was asked for there has come', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    const replies = ['a', 'b'].map((value) => firstValueFrom(client.send('sum', value)));
    await eventually(() => driver.sent.length === 2);
    await driver.consumer.revoke();
    await driver.consumer.assign('sum.reply:1');
    expect([...driver.reader.reading].sort()).toEqual(['sum.reply:0', 'sum.reply:1']);
    const later = firstValueFrom(client.send('sum', 'c'));
    await eventually(() => driver.sent.length === 3);
    const partitions = driver.sent.map((request) => header(request, 'kafka_replyPartition'));
    expect(partitions).toEqual(['0', '0', '1']);
    for (const request of driver.sent) answer(driver, request, String(request.value), DISPOSED);
    expect(await Promise.all([...replies, later])).toEqual(['a', 'b', 'c']);
    await eventually(() => driver.reader.reading.size === 1);
    expect([...driver.reader.reading]).toEqual(['sum.reply:1']);
  });

  it('that come back before that are read on', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    const reply = firstValueFrom(client.send('sum', 'a'));
    await eventually(() => driver.sent.length === 1);
    await driver.consumer.assign('sum.reply:1');
    await driver.consumer.assign('sum.reply:0');
    answer(driver, driver.sent[0]!, 'a', DISPOSED);
    expect(await reply).toBe('a');
    echo(driver);
    expect(await firstValueFrom(client.send('sum', 'b'))).toBe('b');
    expect([...driver.reader.reading]).toEqual(['sum.reply:0']);
  });

  it('are those of the latest assignment, whichever is ready first', async () => {
    const { driver, client } = setUp();
    driver.assignment = [];
    client.subscribeToResponseOf('sum');
    await client.connect();
    const ready = deferred();
    driver.reader.read = ({ partition }) => (partition === 0 ? ready.promise : Promise.resolve());
    const first = driver.consumer.assign('sum.reply:0');
    await driver.consumer.assign('sum.reply:1');
    ready.resolve();
    await first;
    expect(client.getConsumerAssignments()).toEqual({ 'sum.reply': 1 });
  });

  it('are waited for where there was none yet, no longer than requestTimeout, and the request is never sent', async () => {
    const clock = new ManualClock();
    const { driver, client } = setUp({ clock, requestTimeout: 500 });
    driver.assignment = [];
    client.subscribeToResponseOf('sum');
    await client.connect();
    await driver.consumer.revoke();
    const error = failure(firstValueFrom(client.send('sum', {})));
    await eventually(() => client.pendingRequests === 1);
    clock.advance(500);
    expect(await error).toBeInstanceOf(ReplyPartitionMissingError);
    expect((await error).message).toContain('not sent');
    await driver.consumer.assign('sum.reply:0');
    await new Promise((resolve) => setImmediate(resolve));
    expect(driver.sent).toEqual([]);
  });

  it('that the group gave to others fail requests at once, and say how many there are', async () => {
    const { driver, client } = setUp();
    driver.assignment = [];
    client.subscribeToResponseOf('sum');
    const errors = await Promise.all([1, 2].map(() => failure(firstValueFrom(client.send('sum', {})))));
    for (const error of errors) {
      expect(error).toBeInstanceOf(ReplyPartitionMissingError);
      expect(error.message).toMatch(/"sum\.reply".*2 partitions.*replyPartition/);
    }
    await driver.consumer.revoke();
    echo(driver);
    const waiting = firstValueFrom(client.send('sum', 'x'));
    await eventually(() => client.pendingRequests === 1);
    await driver.consumer.assign('sum.reply:1');
    expect(await waiting).toBe('x');
  });
});

describe('a shared reply partition', () => {
  const options: KafkaTransportOptions = { replyPartition: 'shared' };

  it('is one that exists, and needs no group', async () => {
    const { driver, client } = setUp(options);
    client.subscribeToResponseOf('sum');
    echo(driver);
    expect(await firstValueFrom(client.send('sum', 'x'))).toBe('x');
    expect(driver.consumers).toEqual([]);
    expect([0, 1]).toContain(client.getConsumerAssignments()['sum.reply']);
    expect(() => client.consumer).toThrow(/replyPartition/);
    await client.close();
    expect(client.getConsumerAssignments()).toEqual({});
  });

  it('may carry replies to others', async () => {
    const { driver, client } = setUp(options);
    driver.topics.set('sum.reply', 1);
    client.subscribeToResponseOf('sum');
    const reply = firstValueFrom(client.send('sum', 'x'));
    await eventually(() => driver.sent.length === 1);
    driver.reader.receive('sum.reply', 0, [['kafka_correlationId', Buffer.from('not mine')], DISPOSED], 'y');
    answer(driver, driver.sent[0]!, 'x', DISPOSED);
    expect(await reply).toBe('x');
    expect(client.unclaimedReplies).toEqual({ late: 0, unknown: 1, forged: 0 });
  });

  it('is the only other way that there is', () => {
    expect(() => setUp({ replyPartition: 'private' as never })).toThrow(InvalidOptionError);
  });
});

describe('emitting', () => {
  it('gives each record a message id, unless there is one', async () => {
    const { driver, client } = setUp();
    await lastValueFrom(client.emit('events', 'x'));
    await lastValueFrom(client.emit('events', { value: 1, headers: { 'message-id': 'mine' } }));
    expect(header(driver.sent[0]!, 'message-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(driver.sent[1]!.headers).toEqual([['message-id', Buffer.from('mine')]]);
  });

  it('needs no subscriber, no group and no reply topic', async () => {
    const { driver, client } = setUp();
    client.emit('events', { id: 1 });
    await eventually(() => driver.sent.length === 1);
    expect(driver.sent[0]).toMatchObject({ topic: 'events', key: null, value: Buffer.from('{"id":1}') });
    expect(driver.log).toEqual(['producer.connect']);
    expect(driver.created).toEqual([]);
  });

  it('tells where the records went, as the built-in client does', async () => {
    const { client } = setUp();
    expect(await lastValueFrom(client.emit('events', { value: 'a', partition: 3 }))).toEqual([
      { topicName: 'events', partition: 3, errorCode: 0, baseOffset: '0' },
    ]);
    const messages = [
      { value: 'b', partition: 1 },
      { value: 'c', partition: 2 },
      { value: 'd', partition: 1 },
    ];
    expect(await lastValueFrom(client.emitBatch('events', { messages }))).toEqual([
      { topicName: 'events', partition: 1, errorCode: 0, baseOffset: '1' },
      { topicName: 'events', partition: 2, errorCode: 0, baseOffset: '2' },
    ]);
  });

  it('of an empty batch produces nothing', async () => {
    const { driver, client } = setUp();
    expect(await lastValueFrom(client.emitBatch('events', { messages: [] }))).toBeUndefined();
    expect(driver.sent).toEqual([]);
    const wrong = client.emitBatch('events', undefined as never);
    expect(await failure(lastValueFrom(wrong))).toBeInstanceOf(InvalidRecordError);
  });
});

describe('connecting and closing', () => {
  it('shares one attempt, and does not remember a failed one', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    driver.failures.start = new Error('no broker');
    const errors = await Promise.all([failure(client.connect()), failure(client.connect())]);
    expect(errors).toEqual([driver.failures.start, driver.failures.start]);
    const start = ['producer.connect', 'reader.start', 'consumer.start'];
    expect(driver.log).toEqual([...start, 'consumer.stop', 'reader.stop', 'producer.disconnect']);
    driver.failures = {};
    driver.log.length = 0;
    await Promise.all([client.connect(), client.connect()]);
    expect(driver.log).toEqual(start);
  });

  it('creates missing reply topics, but only those, and only if it may', async () => {
    const { driver, client } = setUp();
    for (const topic of ['sum', 'new']) client.subscribeToResponseOf(topic);
    await client.connect();
    expect(driver.created).toEqual(['new.reply']);
    for (const options of [
      { provision: false },
      { consumer: { groupId: 'g', allowAutoTopicCreation: false } },
    ]) {
      const other = setUp(options);
      other.client.subscribeToResponseOf('new');
      await other.client.connect();
      expect(other.driver.created).toEqual([]);
    }
  });

  it('rejects what waits, and works again after connect', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    const waiting = [1, 2].map((n) => failure(firstValueFrom(client.send('sum', n))));
    await eventually(() => driver.sent.length === 2);
    await client.close();
    for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(ConnectionClosedError);
    echo(driver);
    expect(await firstValueFrom(client.send('sum', 'again'))).toBe('again');
    const [first, second] = driver.consumers;
    expect([first!.isRunning, second!.isRunning]).toEqual([false, true]);
  });

  it('announces nothing of its former life to the group', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    await client.connect();
    const userData = () => JSON.parse(String(driver.consumer.options.assigners![0]!.userData([]))) as object;
    expect(userData()).toMatchObject({ previousAssignment: { 'sum.reply': 0 } });
    await client.close();
    driver.assignment = [];
    await client.connect();
    expect(userData()).toMatchObject({ previousAssignment: {} });
  });

  it('leaves the group before it joins again', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    await client.connect();
    const closing = client.close();
    await Promise.all([client.connect(), closing]);
    const start = ['producer.connect', 'reader.start', 'consumer.start'];
    expect(driver.log).toEqual([...start, 'consumer.stop', 'reader.stop', 'producer.disconnect', ...start]);
  });

  it('ends an attempt that is under way', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    const connecting = failure(client.connect());
    const sending = failure(firstValueFrom(client.send('sum', {})));
    await client.close();
    expect(await connecting).toBeInstanceOf(ConnectionClosedError);
    expect(await sending).toBeInstanceOf(ConnectionClosedError);
    expect(driver.consumers.every(({ isRunning }) => !isRunning)).toBe(true);
  });

  it('closes in peace before it ever connected, and twice', async () => {
    const { client } = setUp();
    await client.close();
    await client.connect();
    await Promise.all([client.close(), client.close()]);
    await client.close();
  });

  it('tells its status, the last one also to those who come later', async () => {
    const { driver, client } = setUp();
    client.subscribeToResponseOf('sum');
    const seen: string[] = [];
    client.status.subscribe((status) => seen.push(status));
    await client.connect();
    await driver.consumer.revoke();
    driver.consumer.listener.onStatus('crashed', 'test');
    expect(seen).toEqual(['connected', 'rebalancing', 'crashed']);
    expect(await firstValueFrom(client.status)).toBe('crashed');
    await client.close();
    expect(seen.slice(3)).toEqual(['rebalancing', 'stopped', 'disconnected']);
  });
});

describe('the rest of the built-in client', () => {
  it.each([
    [{}, 'nestjs-group-client'],
    [{ consumer: { groupId: 'billing' } }, 'billing-client'],
    [{ consumer: { groupId: 'billing' }, postfixId: '-x' }, 'billing-x'],
    [{ consumer: { groupId: 'billing' }, postfixId: '' }, 'billing'],
  ])('names its group: %j is %s', async (options, groupId) => {
    const { driver, client } = setUp(options);
    client.subscribeToResponseOf('sum');
    await client.connect();
    expect(driver.consumer.options.groupId).toBe(groupId);
    expect(driver.consumer.options.fromBeginning).toBe(false);
  });

  it('hands out the objects of the driver, once connected', async () => {
    const { driver, client } = setUp();
    expect(() => client.consumer).toThrow(WrongCallOrderError);
    expect(() => client.producer).toThrow(WrongCallOrderError);
    expect(() => client.unwrap()).toThrow(WrongCallOrderError);
    expect(await failure(client.commitOffsets([]))).toBeInstanceOf(WrongCallOrderError);
    expect(await client.connect()).toEqual({ kind: 'producer' });
    expect(client.consumer).toEqual({ kind: 'consumer' });
    expect(client.unwrap()).toBe(driver.native);
    await client.commitOffsets([{ topic: 'sum.reply', partition: 0, offset: '12' }]);
    expect(driver.consumer.commits).toEqual([{ topic: 'sum.reply', partition: 0, offset: 12n }]);
    expect(() => client.on(null as never, null as never)).toThrow(UnsupportedError);
  });

  it('has no consumer in producerOnlyMode, and send() says so', async () => {
    const { driver, client } = setUp({ producerOnlyMode: true });
    client.subscribeToResponseOf('sum');
    const error = await failure(firstValueFrom(client.send('sum', {})));
    expect(error).toBeInstanceOf(WrongCallOrderError);
    expect(error.message).toContain('producerOnlyMode');
    expect(driver.consumers).toEqual([]);
    expect(() => client.consumer).toThrow(WrongCallOrderError);
    await lastValueFrom(client.emit('events', 'x'));
    expect(driver.sent).toHaveLength(1);
  });

  it('hands consumer, producer and send options to the driver', async () => {
    const consumer = { groupId: 'g', sessionTimeout: 7_000, maxWaitTimeInMs: 100, readUncommitted: true };
    const { driver, client } = setUp({
      consumer,
      producer: { idempotent: true },
      send: { acks: 1, timeout: 5 },
    });
    client.subscribeToResponseOf('sum');
    await client.connect();
    const { sessionTimeout, maxWaitTime, readUncommitted, native } = driver.consumer.options;
    expect({ sessionTimeout, maxWaitTime, readUncommitted, native }).toEqual({
      sessionTimeout: 7_000,
      maxWaitTime: 100,
      readUncommitted: true,
      native: consumer,
    });
    expect(driver.producerOptions).toMatchObject({ acks: 1, timeout: 5, native: { idempotent: true } });
  });

  it.each([0, -1, Number.NaN, '5' as never])('refuses requestTimeout %p', (requestTimeout) => {
    expect(() => setUp({ requestTimeout })).toThrow(InvalidOptionError);
  });

  it('refuses assigners of the user', () => {
    expect(() => setUp({ consumer: { groupId: 'g', partitionAssigners: [] } })).toThrow(/partitionAssigners/);
  });

  it('is an entry for ClientsModule', () => {
    const { driver } = setUp();
    const entries: ClientsModuleOptions = [kafkaClient('ORDERS', { driver })];
    const { providers } = ClientsModule.register(entries);
    const provider = providers![0] as { provide: string; useValue: unknown };
    expect(provider.provide).toBe('ORDERS');
    expect(provider.useValue).toBeInstanceOf(ClientKafkaProxy);
  });
});
