import { runInNewContext } from 'node:vm';
import { InvalidRecordError } from '../../../lib/errors/errors.js';
import { encodeMessage, encodeValue } from '../../../lib/messages/encoder.js';

const text = (buffer: Buffer | null) => buffer?.toString('utf8') ?? null;

describe('what is emitted', () => {
  it.each([
    ['text', 'text'],
    ['', ''],
    [5, '5'],
    [0, '0'],
    [false, 'false'],
    [12n, '12'],
    [{ a: { b: [1] } }, '{"a":{"b":[1]}}'],
    [[1, 'a'], '[1,"a"]'],
    [{ toString: () => 'mine' }, '{}'],
    [Object.assign(Object.create(null) as object, { a: 1 }), '{"a":1}'],
    [new Map([[1, 2]]), '{}'],
    [undefined, null],
    [null, null],
  ])('%p is encoded as Nest does', (value, expected) => {
    expect(text(encodeValue(value))).toBe(expected);
  });

  it('uses the toString of a class that has one, and JSON for one that has none', () => {
    class Money {
      constructor(readonly cents: number) {}
      toString() {
        return `${this.cents} ct`;
      }
    }
    class Plain {
      a = 1;
    }
    expect(text(encodeValue(new Money(5)))).toBe('5 ct');
    expect(text(encodeValue(new Plain()))).toBe('{"a":1}');
    const date = new Date(0);
    expect(text(encodeValue(date))).toBe(date.toString());
  });

  it('takes plain objects of another realm for what they are', () => {
    expect(text(encodeValue(runInNewContext('({ a: 1 })')))).toBe('{"a":1}');
  });

  it('passes bytes on', () => {
    const bytes = Buffer.from([0, 255]);
    expect(encodeValue(bytes)).toBe(bytes);
    expect(encodeValue(new Uint8Array([1, 2]).subarray(1))).toEqual(Buffer.from([2]));
  });

  it.each([
    [
      'a circle',
      () =>
        Object.assign(
          {},
          { self: null as unknown },
          {
            get self(): unknown {
              return this;
            },
          },
        ),
    ],
    ['a bigint inside', () => ({ n: 1n })],
    [
      'a toJSON that throws',
      () => ({
        toJSON() {
          throw new RangeError('s3cret');
        },
      }),
    ],
  ])('refuses %s, with the cause and without the payload', (_, make) => {
    try {
      encodeValue(make());
      expect('an error').toBe('thrown');
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidRecordError);
      expect((error as Error).cause).toBeInstanceOf(Error);
      expect((error as Error).message).not.toContain('s3cret');
    }
  });

  it('refuses what is no data', () => {
    expect(() => encodeValue(() => 1)).toThrow(InvalidRecordError);
    expect(() => encodeValue(Symbol('s'))).toThrow(InvalidRecordError);
    expect(() => encodeValue({ toJSON: () => undefined })).toThrow(InvalidRecordError);
  });
});

describe('a Kafka message', () => {
  it('says key, headers, partition and timestamp', () => {
    const message = { key: { id: 1 }, value: [1], headers: { a: 'x' }, partition: 2, timestamp: '123' };
    expect(encodeMessage(message)).toEqual({
      key: Buffer.from('{"id":1}'),
      value: Buffer.from('[1]'),
      headers: [['a', Buffer.from('x')]],
      partition: 2,
      timestamp: 123,
    });
  });

  it('may be a tombstone', () => {
    expect(encodeMessage({ key: 'k', value: null })).toEqual({
      key: Buffer.from('k'),
      value: null,
      headers: [],
    });
    expect(encodeMessage({ key: 'k', value: undefined }).value).toBeNull();
  });

  it.each([{ key: 'k', name: 'n' }, { value: 1, unit: 'm' }, { key: 'k' }, { headers: { a: 'b' } }, {}])(
    'is not what %j is',
    (dto) => {
      const parts = encodeMessage(dto);
      expect(parts.key).toBeNull();
      expect(text(parts.value)).toBe(JSON.stringify(dto));
    },
  );

  it('is not changed by being sent, twice or frozen', () => {
    const message = Object.freeze({
      key: 1,
      value: Object.freeze({ a: 1 }),
      headers: Object.freeze({ h: 'x' }),
    });
    expect(encodeMessage(message)).toEqual(encodeMessage(message));
    expect(message).toEqual({ key: 1, value: { a: 1 }, headers: { h: 'x' } });
  });

  it('takes text, bytes and lists of them as headers, and skips undefined', () => {
    const { headers } = encodeMessage({
      value: 1,
      headers: { a: 'ä', b: Buffer.from([1]), c: ['1', Buffer.from('2')], d: undefined, e: null },
    });
    expect(headers).toEqual([
      ['a', Buffer.from('ä')],
      ['b', Buffer.from([1])],
      ['c', Buffer.from('1')],
      ['c', Buffer.from('2')],
      ['e', null],
    ]);
  });

  it.each([5, true, {}, [1], [['x']], 1n])('names the header whose value is %p', (value) => {
    expect(() => encodeMessage({ value: 1, headers: { fine: 'x', wrong: value } })).toThrow(/"wrong"/);
  });

  it('refuses headers, partitions and timestamps of no use', () => {
    const failing = [
      { headers: 'x' },
      { headers: [] },
      { headers: new Map() },
      { partition: -1 },
      { partition: 1.5 },
      { partition: '1' },
      { timestamp: 'soon' },
      { timestamp: '' },
    ];
    for (const fields of failing)
      expect(() => encodeMessage({ value: 1, ...fields })).toThrow(InvalidRecordError);
  });
});
