import { KafkaParser, KafkaResponseDeserializer } from '@nestjs/microservices';
import { KafkaRequestSerializer } from '@nestjs/microservices/serializers/kafka-request.serializer.js';
import {
  deserializeReply,
  deserializeRequest,
  encodeReply,
  replyHeaders,
  serializeMessage,
  type ReplyPacket,
} from '../../../lib/messages/packets.js';
import { parseRecord } from '../../../lib/messages/parser.js';
import { headerValue, type KafkaRecord } from '../../../lib/messages/record.js';
import type { EncodedReply } from '../../../lib/messages/reply.js';

const correlationId = Buffer.from('{"looks":"like JSON"}');

function received(reply: EncodedReply): KafkaRecord {
  const headers = replyHeaders(reply, correlationId);
  return { topic: 't.reply', partition: 0, offset: 0n, timestamp: 0, ...reply, headers };
}

async function roundTrip(packet: ReplyPacket, index?: number): Promise<ReplyPacket> {
  const record = received(await encodeReply(packet, undefined, index));
  return deserializeReply(record, parseRecord(record));
}

/** What Nest's own client makes of a reply of ours. */
async function asNestReads(packet: ReplyPacket, index?: number): Promise<ReplyPacket> {
  const { key, value, headers } = received(await encodeReply(packet, undefined, index));
  const message = new KafkaParser().parse({ key, value, headers: Object.fromEntries(headers) }) as never;
  return new KafkaResponseDeserializer().deserialize(message) as ReplyPacket;
}

describe('a serializer of the user', () => {
  const serialize = (result: unknown) => serializeMessage({ a: 1 }, { serialize: () => result });

  it('gets the data as it is, and the options', async () => {
    const calls: unknown[][] = [];
    const data = { key: 'k', value: 'v' };
    await serializeMessage(data, { serialize: (...args) => (calls.push(args), 'x') }, { pattern: 't' });
    expect(calls).toEqual([[data, { pattern: 't' }]]);
    expect(calls[0]![0]).toBe(data);
  });

  it.each([
    ['a message', { key: 'k', value: Buffer.from('v'), headers: { h: 'x' }, extra: 1 }],
    ['a promise of one', Promise.resolve({ key: 'k', value: 'v', headers: { h: 'x' } })],
  ])('returns %s', async (_, result) => {
    expect(await serialize(result)).toEqual({
      key: Buffer.from('k'),
      value: Buffer.from('v'),
      headers: [['h', Buffer.from('x')]],
    });
  });

  it('returns bytes or text for the value alone', async () => {
    expect((await serialize(Buffer.from([0, 1]))).value).toEqual(Buffer.from([0, 1]));
    expect((await serialize('text')).value).toEqual(Buffer.from('text'));
  });

  it('is told when it returned no value', () => {
    expect(() => serialize({ payload: 1 })).toThrow(/without "value"/);
  });

  it("may be Nest's own", async () => {
    const serializer = new KafkaRequestSerializer();
    for (const data of [{ a: 1 }, 'text', 5, [1], { key: 'k', value: { b: 2 }, headers: { h: 'x' } }]) {
      expect(await serializeMessage(structuredClone(data), serializer)).toEqual(await serializeMessage(data));
    }
  });
});

describe('an incoming request', () => {
  const record = { topic: 'orders', partition: 0, offset: 0n, timestamp: 0, key: null, headers: [] };

  it('is its value under its topic, null for a tombstone', async () => {
    const message = parseRecord({ ...record, value: Buffer.from('{"a":1}') });
    expect(await deserializeRequest(message)).toEqual({ pattern: 'orders', data: { a: 1 } });
    expect(await deserializeRequest(parseRecord({ ...record, value: null }))).toEqual({
      pattern: 'orders',
      data: null,
    });
  });

  it('is what the deserializer of the user says', async () => {
    const message = parseRecord({ ...record, value: Buffer.from('x') });
    const calls: unknown[][] = [];
    const deserialize = (...args: unknown[]) => (
      calls.push(args),
      Promise.resolve({ pattern: 'p', data: 1 })
    );
    expect(await deserializeRequest(message, { deserialize })).toEqual({ pattern: 'p', data: 1 });
    expect(calls).toEqual([[message, { channel: 'orders' }]]);
  });
});

describe('a reply', () => {
  it.each<[string, ReplyPacket, ReplyPacket]>([
    ['a value', { response: { a: 1 } }, { response: { a: 1 }, isDisposed: false }],
    ['the last value', { response: [1], isDisposed: true }, { response: [1], isDisposed: true }],
    ['nothing', { response: undefined, isDisposed: true }, { response: null, isDisposed: true }],
    [
      'an error',
      { err: { status: 'error', message: 'm' } },
      { err: { status: 'error', message: 'm' }, isDisposed: true },
    ],
    ['an error as text', { err: 'no' }, { err: 'no', isDisposed: true }],
    ['a number as error', { err: 5, isDisposed: true }, { err: '5', isDisposed: true }],
    [
      'an Error',
      { err: Object.assign(new RangeError('far'), { code: 7 }) },
      { err: { name: 'RangeError', message: 'far', code: 7 }, isDisposed: true },
    ],
    [
      'null as error',
      { err: null },
      { err: { status: 'error', message: 'Internal server error' }, isDisposed: true },
    ],
  ])('with %s reaches our client and the built-in one', async (_, packet, expected) => {
    expect(await roundTrip(packet)).toEqual(expected);
    const { err, response, isDisposed } = await asNestReads(packet);
    expect({ err, response: response ?? undefined, isDisposed }).toEqual({
      err: expected.err,
      response: expected.response ?? undefined,
      isDisposed: expected.isDisposed,
    });
  });

  it('that only ends a stream carries no value for us; the built-in client reads null', async () => {
    expect(await roundTrip({ isDisposed: true }, 3)).toEqual({ isDisposed: true });
    expect(await asNestReads({ isDisposed: true }, 3)).toMatchObject({ response: null, isDisposed: true });
  });

  it('of a stream that was empty is null, as in Nest', async () => {
    expect(await roundTrip({ isDisposed: true }, 0)).toEqual({ response: null, isDisposed: true });
  });

  it('whose error is a circle is an error all the same', async () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect((await roundTrip({ err: circle })).err).toMatchObject({ status: 'error' });
    expect((await roundTrip({ err: Object.assign(new Error('m'), circle) })).err).toEqual({
      name: 'Error',
      message: 'm',
    });
  });

  it('carries the bytes of the correlation id, whatever the handler put there', async () => {
    const bytes = Buffer.from([0xff, 0x00]);
    const reply = await encodeReply({ response: { value: 1, headers: { kafka_correlationId: 'mine' } } });
    expect(headerValue(replyHeaders(reply, bytes), 'kafka_correlationId')).toEqual(bytes);
    expect(replyHeaders(reply, bytes)).toHaveLength(1);
  });

  it('is read by the deserializer of the user', async () => {
    const record = received(await encodeReply({ response: 'v', isDisposed: true }));
    const deserialize = () => Promise.resolve({ response: 'mine', isDisposed: true });
    expect(await deserializeReply(record, parseRecord(record), { deserialize })).toMatchObject({
      response: 'mine',
    });
  });
});
