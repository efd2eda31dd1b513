import {
  describeKey,
  encodedForms,
  fingerprint,
  givenKey,
  MAX_KEY_BYTES,
  positionKey,
  recordKey,
} from '../../../lib/messages/idempotency-key.js';
import type { KafkaRecord, RecordHeader } from '../../../lib/messages/record.js';

const topicId = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b';
const uuid = '0190a1b2-0000-7000-8000-000000000001';

function record(headers: RecordHeader[], overrides: Partial<KafkaRecord> = {}): KafkaRecord {
  return {
    topic: 't',
    partition: 3,
    offset: 42n,
    timestamp: 0,
    key: null,
    value: null,
    headers,
    ...overrides,
  };
}

describe('the idempotency key of a record', () => {
  it('is the configured header before the message id before the position', () => {
    const both: RecordHeader[] = [
      ['message-id', Buffer.from('m')],
      ['idempotency-key', Buffer.from('k')],
    ];
    expect(describeKey(recordKey(record(both), topicId, 'idempotency-key').encoded)).toBe('k');
    expect(recordKey(record(both), topicId, 'idempotency-key').kind).toBe('given');
    expect(recordKey(record(both), topicId, false).kind).toBe('message-id');
    expect(describeKey(recordKey(record([]), topicId, 'idempotency-key').encoded)).toBe(`${topicId}/3/42`);
  });

  it('never mixes kinds: a message id that looks like a given key is another key', () => {
    const given = givenKey('given', uuid, 'x').encoded;
    const sent = givenKey('message-id', uuid, 'x').encoded;
    expect(given.equals(sent)).toBe(false);
  });

  it('keeps a canonical UUID in 17 bytes and tells it from the 16 bytes themselves', () => {
    const text = givenKey('given', uuid, 'x').encoded;
    const bytes = givenKey('given', Buffer.from(uuid.replaceAll('-', ''), 'hex'), 'x').encoded;
    expect(text).toHaveLength(17);
    expect(text.equals(bytes)).toBe(false);
    expect(describeKey(text)).toBe(uuid);
  });

  it.each([
    ['upper case', uuid.toUpperCase()],
    ['a dash elsewhere', uuid.replace('0190a1b2-0', '0190a1b20-')],
    ['no dashes but as long', uuid.replaceAll('-', '0')],
    ['a last digit that is none', `${uuid.slice(0, -1)}g`],
    ['a last but one digit that is none', `${uuid.slice(0, -2)}:0`],
  ])('keeps as text what is no canonical UUID: %s', (_what, text) => {
    const { encoded } = givenKey('given', text, 'x');
    expect(encoded.subarray(1).toString()).toBe(text);
    expect(describeKey(encoded)).toBe(text);
  });

  it('is told apart by what handlers and people read of it, also where it is no text', () => {
    const [one, other] = ['ff01', 'fe01'].map(
      (hex) => givenKey('given', Buffer.from(hex, 'hex'), 'x').encoded,
    ) as [Buffer, Buffer];
    expect(describeKey(one)).not.toBe(describeKey(other));
    const odd = ['ff005c', '6100', 'c3', '80', 'ff0a'].map((hex) => Buffer.from(hex, 'hex'));
    for (const bytes of odd) {
      for (const kind of ['given', 'message-id'] as const) {
        const { encoded } = givenKey(kind, bytes, 'x');
        expect(encodedForms(describeKey(encoded))).toContainEqual(encoded);
      }
    }
  });

  it.each([
    ['an empty header', Buffer.alloc(0), 'no-key'],
    ['a header without a value', null, 'no-key'],
    ['a header of a megabyte', Buffer.alloc(1 << 20, 97), 'key-too-long'],
    ['one byte too many', Buffer.alloc(MAX_KEY_BYTES + 1, 97), 'key-too-long'],
  ])('refuses %s, naming the header and never its content', (_what, value, reason) => {
    const attempt = () => recordKey(record([['idempotency-key', value]]), topicId, 'idempotency-key');
    expect(attempt).toThrow(
      expect.objectContaining({ reason, message: expect.stringContaining('"idempotency-key"') }),
    );
    expect(attempt).not.toThrow(/aaaa/);
  });

  it('of a position differs by topic id, partition and offset', () => {
    const other = topicId.replace('0190', '0191');
    const keys = [
      positionKey(topicId, 0, 0n),
      positionKey(other, 0, 0n),
      positionKey(topicId, 1, 0n),
      positionKey(topicId, 0, 1n),
    ].map(({ encoded }) => encoded.toString('hex'));
    expect(new Set(keys).size).toBe(4);
  });
});

describe('the fingerprint', () => {
  it('is the same for the same bytes and differs where key and value split differently', () => {
    const value = (key: string | null, text: string | null) =>
      fingerprint(
        record([], {
          key: key === null ? null : Buffer.from(key),
          value: text === null ? null : Buffer.from(text),
        }),
      );
    expect(value('ab', 'c')).toBe(value('ab', 'c'));
    const different = [
      value('ab', 'c'),
      value('a', 'bc'),
      value(null, 'abc'),
      value('', 'abc'),
      value('abc', null),
    ];
    expect(new Set(different).size).toBe(different.length);
  });

  it('stays what ledgers have stored', () => {
    const stored = (key: Buffer | null, value: Buffer | null) => fingerprint(record([], { key, value }));
    expect(stored(Buffer.from('customer-1'), Buffer.from('{"id":1}'))).toBe(-1_381_677_806_479_980_717n);
    expect(stored(null, null)).toBe(3_832_268_470_757_413_528n);
  });
});
