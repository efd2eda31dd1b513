import { decode, parseRecord } from '../../../lib/messages/parser.js';
import type { KafkaRecord, RecordHeader } from '../../../lib/messages/record.js';

function record(overrides: Partial<KafkaRecord> = {}): KafkaRecord {
  const base = { topic: 't', partition: 3, offset: 2n ** 60n, timestamp: 1_700_000_000_000 };
  return { ...base, key: null, value: null, headers: [], ...overrides };
}

function headersOf(...headers: RecordHeader[]): Record<string, unknown> {
  return parseRecord(record({ headers })).headers;
}

describe('decoding bytes as Nest does', () => {
  it.each([
    ['{"a":1}', { a: 1 }],
    ['[1,2]', [1, 2]],
    ['42', '42'],
    ['true', 'true'],
    ['null', 'null'],
    ['"quoted"', '"quoted"'],
    ['{broken', '{broken'],
    [' {"a":1}', ' {"a":1}'],
    ['', ''],
  ])('%j', (text, expected) => {
    expect(decode(Buffer.from(text))).toEqual(expected);
  });

  it('leaves bytes that start with zero alone: they are a schema payload', () => {
    const bytes = Buffer.from([0, 0, 0, 0, 7, 0x7b]);
    expect(decode(bytes)).toBe(bytes);
  });

  it('makes text of bad UTF-8, also where it looks like JSON', () => {
    expect(decode(Buffer.from([0x61, 0xff]))).toBe('a\ufffd');
    expect(decode(Buffer.from([0x7b, 0xff, 0x7d]))).toBe('{\ufffd}');
  });
});

describe('parsing a record', () => {
  it('gives the fields of an IncomingMessage', () => {
    const parsed = parseRecord(
      record({ key: Buffer.from('k'), value: Buffer.from('{"a":1}'), headers: [['h', Buffer.from('x')]] }),
    );
    expect(parsed).toEqual({
      topic: 't',
      partition: 3,
      timestamp: '1700000000000',
      size: 10,
      attributes: 0,
      offset: '1152921504606846976',
      key: 'k',
      value: { a: 1 },
      headers: expect.objectContaining({ h: 'x' }) as unknown,
    });
  });

  it('keeps only the value as bytes under keepBinary', () => {
    const value = Buffer.from('{"a":1}');
    const parsed = parseRecord(record({ key: Buffer.from('[1]'), value }), { keepBinary: true });
    expect(parsed.value).toBe(value);
    expect(parsed.key).toEqual([1]);
  });

  it('hands a tombstone over as null, with its key', () => {
    expect(parseRecord(record({ key: Buffer.from('k') }))).toMatchObject({ key: 'k', value: null });
    expect(parseRecord(record(), { keepBinary: true }).value).toBeNull();
  });

  it('knows no header names of its own', () => {
    const headers = headersOf(['__proto__', Buffer.from('p')], ['constructor', Buffer.from('c')]);
    expect(headers['__proto__']).toBe('p');
    expect(headers['constructor']).toBe('c');
    expect(headersOf()['constructor']).toBeUndefined();
    expect(Object.getPrototypeOf(headers)).toBeNull();
  });

  it('lists the values of a repeated header in order, and keeps null', () => {
    const headers = headersOf(
      ['a', Buffer.from('1')],
      ['b', null],
      ['a', Buffer.from('{"x":2}')],
      ['a', Buffer.from('3')],
    );
    expect(headers['a']).toEqual(['1', { x: 2 }, '3']);
    expect(headers['b']).toBeNull();
  });

  it('does not take a JSON array for a repetition', () => {
    expect(headersOf(['a', Buffer.from('[1]')])['a']).toEqual([1]);
    expect(headersOf(['a', Buffer.from('[1]')], ['a', Buffer.from('2')])['a']).toEqual([[1], '2']);
  });

  it.each(['{"id":1}', '[1]', '007', '{'])('leaves the correlation id %s as it came', (id) => {
    expect(headersOf(['kafka_correlationId', Buffer.from(id)])['kafka_correlationId']).toBe(id);
  });
});
