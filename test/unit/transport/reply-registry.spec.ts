import { ConnectionClosedError, ReplyTimeoutError } from '../../../lib/errors/errors.js';
import { deserializeReply, type ReplyPacket } from '../../../lib/messages/packets.js';
import { parseRecord } from '../../../lib/messages/parser.js';
import type { KafkaRecord } from '../../../lib/messages/record.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { ReplyRegistry } from '../../../lib/transport/reply-registry.js';
import { ManualClock } from './manual-clock.js';

interface ReplyOptions {
  topic?: string;
  error?: string;
  last?: boolean;
  index?: number;
}

function reply(id: string, value: string | null, options: ReplyOptions = {}): KafkaRecord {
  const headers: [string, Buffer][] = [['kafka_correlationId', Buffer.from(id)]];
  if (options.error !== undefined) headers.push(['kafka_nest-err', Buffer.from(options.error)]);
  if (options.last) headers.push(['kafka_nest-is-disposed', Buffer.alloc(1)]);
  if (options.index !== undefined)
    headers.push(['kafka_nest-reply-index', Buffer.from(String(options.index))]);
  return {
    topic: options.topic ?? 'sum.reply',
    partition: 0,
    offset: 0n,
    timestamp: 0,
    key: null,
    value: value === null ? null : Buffer.from(value),
    headers,
  };
}

function setUp(
  requestTimeout = 1_000,
  deserialize: (record: KafkaRecord) => ReplyPacket | Promise<ReplyPacket> = (record) =>
    deserializeReply(record, parseRecord(record)),
) {
  const clock = new ManualClock();
  const registry = new ReplyRegistry(clock, silentLog, requestTimeout, deserialize);
  const request = (correlationId: string) => {
    const packets: ReplyPacket[] = [];
    registry.add({
      correlationId,
      topic: 'sum',
      replyTopic: 'sum.reply',
      callback: (packet) => packets.push(packet),
    });
    return packets;
  };
  return { clock, registry, request };
}

describe('the requests that wait for replies', () => {
  it('settle with their own reply, and only once', () => {
    const { registry, request } = setUp();
    const [a, b] = [request('a'), request('b')];
    registry.deliver(reply('b', 'for b', { last: true }));
    registry.deliver(reply('b', 'again', { last: true }));
    expect(a).toEqual([]);
    expect(b).toEqual([{ response: 'for b', isDisposed: true }]);
    expect(registry.size).toBe(1);
    expect(registry.unclaimed).toEqual({ late: 1, unknown: 0, forged: 0 });
  });

  it('see the values of a stream in order until its end', () => {
    const { registry, request } = setUp();
    const packets = request('a');
    for (const value of ['1', '2']) registry.deliver(reply('a', value));
    registry.deliver(reply('a', '3', { last: true }));
    registry.deliver(reply('a', '4'));
    expect(packets.map(({ response }) => response)).toEqual(['1', '2', '3']);
  });

  it('see a stream once though the server produced its start again', () => {
    const { registry, request } = setUp();
    const packets = request('a');
    for (const index of [0, 1, 0, 1, 2]) registry.deliver(reply('a', `v${index}`, { index }));
    expect(packets.map(({ response }) => response)).toEqual(['v0', 'v1', 'v2']);
    expect(registry.unclaimed.late).toBe(2);
  });

  it('fail with the error of the reply, parsed as Nest does', () => {
    const { registry, request } = setUp();
    const [json, text] = [request('a'), request('b')];
    registry.deliver(reply('a', null, { error: '{"status":"error","message":"m"}', last: true }));
    registry.deliver(reply('b', null, { error: 'There is no handler', last: true }));
    expect(json).toEqual([{ err: { status: 'error', message: 'm' }, response: undefined, isDisposed: true }]);
    expect(text).toMatchObject([{ err: 'There is no handler' }]);
    expect(registry.size).toBe(0);
  });

  it('keep the order of a stream that a slow deserializer reads', async () => {
    const waits = new Map<string, () => void>();
    const { registry, request } = setUp(1_000, (record) => {
      const response = String(record.value);
      const isDisposed = response === 'c';
      return new Promise((resolve) => waits.set(response, () => resolve({ response, isDisposed })));
    });
    const packets = request('a');
    for (const value of ['a', 'b', 'c']) registry.deliver(reply('a', value));
    for (const value of ['a', 'b', 'c']) {
      waits.get(value)!();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(packets.map(({ response }) => response)).toEqual(['a', 'b', 'c']);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('bad');
      },
    ],
    ['rejects', () => Promise.reject(new Error('bad'))],
    ['resolves to nothing', () => Promise.resolve(undefined as never)],
  ])('fail if the deserializer %s', async (_, deserialize) => {
    const { registry, request } = setUp(1_000, deserialize);
    const packets = request('a');
    registry.deliver(reply('a', 'x'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(packets).toEqual([{ err: expect.any(Error) as unknown }]);
  });

  it('time out one by one, with the topic and the time in the error', () => {
    const { clock, registry, request } = setUp();
    const first = request('a');
    clock.advance(400);
    const second = request('b');
    clock.advance(600);
    expect(first).toHaveLength(1);
    expect(first[0]!.err).toBeInstanceOf(ReplyTimeoutError);
    expect(String(first[0]!.err)).toMatch(/"sum" within 1000 ms/);
    expect(second).toEqual([]);
    registry.deliver(reply('a', 'too late', { last: true }));
    expect(registry.unclaimed.late).toBe(1);
    clock.advance(400);
    expect(second).toHaveLength(1);
  });

  it('get the whole time again with each value of a stream', () => {
    const { clock, registry, request } = setUp();
    const [stream, other] = [request('a'), request('b')];
    clock.advance(900);
    registry.deliver(reply('a', '1'));
    clock.advance(900);
    expect(stream).toHaveLength(1);
    expect(other).toHaveLength(1);
    clock.advance(100);
    expect(stream).toHaveLength(2);
    expect(stream[1]!.err).toBeInstanceOf(ReplyTimeoutError);
  });

  it('leave no timer behind', () => {
    const { clock, registry, request } = setUp();
    request('a');
    request('b');
    registry.deliver(reply('a', '1', { last: true }));
    registry.forget('b');
    expect(clock.pendingTimers).toBe(0);
  });

  it('may wait for ever', () => {
    const { clock, registry, request } = setUp(Infinity);
    const packets = request('a');
    clock.advance(2 ** 40);
    expect(packets).toEqual([]);
    expect(registry.size).toBe(1);
  });

  it('are forgotten when nobody listens any more', () => {
    const { registry, request } = setUp();
    const packets = request('a');
    registry.forget('a');
    registry.deliver(reply('a', '1', { last: true }));
    expect(packets).toEqual([]);
    expect(registry.unclaimed).toEqual({ late: 1, unknown: 0, forged: 0 });
  });

  it('do not take replies that come from elsewhere or to nobody', () => {
    const { registry, request } = setUp();
    const packets = request('a');
    registry.deliver(reply('a', '1', { topic: 'other.reply', last: true }));
    registry.deliver(reply('nobody', '1', { last: true }));
    registry.deliver({ ...reply('a', '1'), headers: [] });
    expect(packets).toEqual([]);
    expect(registry.unclaimed).toEqual({ late: 0, unknown: 2, forged: 1 });
  });

  it('are waited for by whoever gives their partition away', async () => {
    const { clock, registry, request } = setUp();
    for (const id of ['answered', 'forgotten', 'late', 'elsewhere', 'unsent']) request(id);
    for (const id of ['answered', 'forgotten', 'late']) expect(registry.sending(id, 3)).toBe(true);
    registry.sending('elsewhere', 4);
    expect(registry.sending('nobody', 3)).toBe(false);
    let isSettled = false;
    const settled = registry.settled({ topic: 'sum.reply', partition: 3 }).then(() => (isSettled = true));
    request('afterwards');
    registry.sending('afterwards', 3);
    registry.deliver(reply('answered', 'x', { last: true }));
    registry.forget('forgotten');
    await new Promise((resolve) => setImmediate(resolve));
    expect(isSettled).toBe(false);
    registry.fail('late', new Error('too late'));
    await settled;
    await registry.settled({ topic: 'other.reply', partition: 3 });
    expect(registry.size).toBe(3);
    clock.advance(1_000);
  });

  it('all fail together, even where a subscriber throws', () => {
    const { registry, request } = setUp();
    registry.add({
      correlationId: 'bad',
      topic: 'sum',
      replyTopic: 'sum.reply',
      callback: () => {
        throw new Error('subscriber');
      },
    });
    const packets = request('a');
    registry.failAll((topic) => new ConnectionClosedError(`closed: ${topic}`));
    expect(packets[0]!.err).toBeInstanceOf(ConnectionClosedError);
    expect(registry.size).toBe(0);
  });

  it('cost little: a hundred thousand leave nothing but the last few ids', () => {
    const { clock, registry, request } = setUp();
    for (let i = 0; i < 100_000; i++) request(`r${i}`);
    clock.advance(1_000);
    expect(registry.size).toBe(0);
    registry.deliver(reply('r99999', 'x'));
    registry.deliver(reply('r0', 'x'));
    expect(registry.unclaimed).toEqual({ late: 1, unknown: 1, forged: 0 });
  });
});
