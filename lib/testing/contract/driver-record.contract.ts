import assert from 'node:assert/strict';
import type { RecordHeader } from '../../messages/record.js';
import { systemClock } from '../../runtime/clock.js';
import type { DeclareTest } from './contract.js';
import { type DriverKit, numbered, outgoing } from './driver-kit.js';
import { eventually, SOON_MS } from './eventually.js';

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

const HEADERS: Record<string, readonly RecordHeader[]> = {
  'no headers': [],
  'names that occur several times, in order': [
    ['trace', Buffer.from('1')],
    ['other', Buffer.from('x')],
    ['trace', Buffer.from('2')],
  ],
  'null and empty values': [
    ['null', null],
    ['empty', Buffer.alloc(0)],
  ],
  'any bytes': [['bytes', EVERY_BYTE]],
  'names that objects have by nature': [
    ['constructor', Buffer.from('c')],
    ['__proto__', Buffer.from('p')],
    ['toString', null],
  ],
  'names beyond ASCII': [['Grüße ✓', Buffer.from('ok')]],
};

/** What is produced arrives as it was, in order. */
export function recordContract(test: DeclareTest<DriverKit>): void {
  test('hands records over in offset order per partition, offsets being bigints from 0', async (kit) => {
    const topic = await kit.topic(3);
    for (const partition of [0, 1, 2]) await kit.produce(topic, numbered(`p${partition}`, 100), partition);
    const consumer = await kit.started({ topics: [topic] });
    await eventually('300 records', () => consumer.records.length >= 300);
    for (const partition of [0, 1, 2]) {
      const records = consumer.of({ topic, partition });
      assert.deepEqual(
        records.map(({ offset }) => offset),
        records.map((_, index) => BigInt(index)),
      );
      assert.deepEqual(consumer.values({ topic, partition }), numbered(`p${partition}`, 100));
    }
  });

  for (const [what, headers] of Object.entries(HEADERS)) {
    test(`keeps headers: ${what}`, async (kit) => {
      const topic = await kit.topic();
      const producer = await kit.producer();
      await producer.send(outgoing({ topic, value: 'v', headers }));
      const consumer = await kit.started({ topics: [topic] });
      await eventually('the record', () => consumer.records.length === 1);
      assert.deepEqual(consumer.records[0]!.headers, headers);
    });
  }

  test('keeps keys and values byte for byte: null, empty, any bytes', async (kit) => {
    const topic = await kit.topic();
    const contents = [null, Buffer.alloc(0), Buffer.from('text'), EVERY_BYTE];
    const pairs = contents.flatMap((key) => contents.map((value) => ({ key, value })));
    const producer = await kit.producer();
    await producer.sendAll(pairs.map((pair) => ({ topic, partition: 0, headers: [], ...pair })));
    const consumer = await kit.started({ topics: [topic] });
    await eventually('all records', () => consumer.records.length === pairs.length);
    assert.deepEqual(
      consumer.records.map(({ key, value }) => ({ key, value })),
      pairs,
    );
  });

  test('keeps a given timestamp and stamps others with the time of sending', async (kit) => {
    const topic = await kit.topic();
    const producer = await kit.producer();
    const before = systemClock.now();
    const given = before - 12_345;
    await producer.send({ ...outgoing({ topic, value: 'given' }), timestamp: given });
    await producer.send(outgoing({ topic, value: 'now' }));
    const consumer = await kit.started({ topics: [topic] });
    await eventually('both records', () => consumer.records.length === 2);
    assert.equal(consumer.records[0]!.timestamp, given);
    const { timestamp } = consumer.records[1]!;
    // A broker may stamp by its own clock: a minute is generous, and tells milliseconds from seconds.
    assert.ok(Math.abs(timestamp - before) < 60_000, `${timestamp} is far from ${before}`);
  });

  test('is not impressed by a record with 10 000 headers', async (kit) => {
    const topic = await kit.topic();
    const headers = numbered('header', 10_000).map((name): RecordHeader => [name, Buffer.from('v')]);
    const producer = await kit.producer();
    await producer.send(outgoing({ topic, value: 'many', headers }));
    await producer.send(outgoing({ topic, value: 'next' }));
    const consumer = await kit.started({ topics: [topic] });
    await eventually('both records', () => consumer.records.length === 2, SOON_MS);
    assert.equal(consumer.records[0]!.headers.length, 10_000);
    assert.deepEqual(consumer.revocations, []);
  });
}
