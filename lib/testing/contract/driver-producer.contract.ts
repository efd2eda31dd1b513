import assert from 'node:assert/strict';
import { ProduceError } from '../../errors/errors.js';
import type { DeclareTest } from './contract.js';
import { type DriverKit, numbered, outgoing } from './driver-kit.js';
import { eventually } from './eventually.js';

// Key, then its partition of 3 and of 12, as kafkajs' DefaultPartitioner and Kafka's Java client choose them.
const KEYED: readonly (readonly [key: Buffer, ofThree: number, ofTwelve: number])[] = [
  [Buffer.alloc(0), 0, 9],
  [Buffer.from('a'), 1, 4],
  [Buffer.from('ab'), 2, 2],
  [Buffer.from('abc'), 0, 3],
  [Buffer.from('abcd'), 2, 8],
  [Buffer.from('order-1'), 1, 10],
  [Buffer.from('ключ'), 2, 8],
  [Buffer.from([0xff, 0xfe, 0x00, 0x01, 0x80]), 0, 6],
];

/** Sending. */
export function producerContract(test: DeclareTest<DriverKit>): void {
  test('500 parallel sends over partitions: each is told where its record is', async (kit) => {
    const topic = await kit.topic(5);
    const producer = await kit.producer();
    const values = numbered('v', 500);
    const metadata = await Promise.all(
      values.map((value, index) => producer.send(outgoing({ topic, partition: index % 5, value }))),
    );
    const consumer = await kit.started({ topics: [topic] });
    await eventually('all records', () => consumer.records.length === 500);
    const places = new Map(
      consumer.records.map(({ partition, offset, value }) => [`${partition}/${offset}`, String(value)]),
    );
    metadata.forEach((each, index) => {
      assert.equal(each.topic, topic);
      assert.equal(places.get(`${each.partition}/${each.offset}`), values[index]);
    });
    // Sent in one turn, they keep their order in each partition.
    for (const partition of [0, 1, 2, 3, 4]) {
      const expected = values.filter((_, index) => index % 5 === partition);
      assert.deepEqual(consumer.values({ topic, partition }), expected);
    }
  });

  test('sends that do not wait for each other keep their order over many turns', async (kit) => {
    const topic = await kit.topic();
    const producer = await kit.producer();
    const sends: Promise<unknown>[] = [];
    for (const value of numbered('v', 200)) {
      sends.push(producer.send(outgoing({ topic, value })));
      if (sends.length % 7 === 0) await sends[sends.length - 5];
    }
    await Promise.all(sends);
    const consumer = await kit.started({ topics: [topic] });
    await eventually('all records', () => consumer.records.length === 200);
    assert.deepEqual(consumer.values(), numbered('v', 200));
  });

  test('sendAll resolves with one place per record, in the order given', async (kit) => {
    const topic = await kit.topic(2);
    const producer = await kit.producer();
    const metadata = await producer.sendAll(
      [1, 0, 1].map((partition) => outgoing({ topic, partition, value: 'v' })),
    );
    assert.deepEqual(metadata, [
      { topic, partition: 1, offset: 0n },
      { topic, partition: 0, offset: 0n },
      { topic, partition: 1, offset: 1n },
    ]);
    assert.deepEqual(await producer.sendAll([]), []);
  });

  test('a partition that does not exist is a ProduceError, and its neighbours are not harmed', async (kit) => {
    const topic = await kit.topic(2);
    const producer = await kit.producer();
    const [before, unknown, after] = await Promise.allSettled([
      producer.send(outgoing({ topic, partition: 0, value: 'before' })),
      producer.send(outgoing({ topic, partition: 7, value: 'unknown' })),
      producer.send(outgoing({ topic, partition: 0, value: 'after' })),
    ]);
    assert.equal(before.status, 'fulfilled');
    assert.equal(after.status, 'fulfilled');
    assert.ok(unknown.status === 'rejected' && unknown.reason instanceof ProduceError);
    await assert.rejects(
      producer.sendAll([
        outgoing({ topic, partition: 1, value: 'good' }),
        outgoing({ topic, partition: 9, value: 'bad' }),
      ]),
      ProduceError,
    );
    const watermarks = await kit.admin.watermarks(topic);
    assert.equal(watermarks.find(({ partition }) => partition === 0)!.high, 2n);
  });

  test('a record that is too large is a ProduceError without its bytes, and its neighbours are not harmed', async (kit) => {
    const topic = await kit.topic();
    const producer = await kit.producer();
    const large = 'large'.repeat(400_000);
    const results = await Promise.allSettled(
      ['before', large, 'after'].map((value) => producer.send(outgoing({ topic, partition: 0, value }))),
    );
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    const error: unknown = (results[1] as PromiseRejectedResult).reason;
    assert.ok(error instanceof ProduceError);
    assert.ok(!error.message.includes('largelarge'));
    assert.ok(error.message.includes(topic));
    const consumer = await kit.started({ topics: [topic] });
    await eventually('the neighbours', () => consumer.records.length === 2);
    assert.deepEqual(consumer.values(), ['before', 'after']);
  });

  test('one key goes to one partition, the same as with kafkajs', async (kit) => {
    for (const [partitions, column] of [
      [3, 1],
      [12, 2],
    ] as const) {
      const topic = await kit.topic(partitions);
      const producer = await kit.producer();
      const metadata = await producer.sendAll(
        KEYED.map(([key]) => ({ topic, key, value: Buffer.from('v'), headers: [] })),
      );
      assert.deepEqual(
        metadata.map(({ partition }) => partition),
        KEYED.map((row) => row[column]),
      );
    }
  });

  test('partitions added while a producer runs can be sent to', async (kit) => {
    const topic = await kit.topic(1);
    const producer = await kit.producer();
    await producer.send(outgoing({ topic, partition: 0, value: 'v' }));
    await kit.admin.createPartitions(topic, 3);
    const { partition, offset } = await producer.send(outgoing({ topic, partition: 2, value: 'v' }));
    assert.deepEqual({ partition, offset }, { partition: 2, offset: 0n });
  });

  test('acks: 0 tells no offset', async (kit) => {
    const topic = await kit.topic();
    const producer = await kit.producer({ acks: 0 });
    assert.deepEqual(await producer.send(outgoing({ topic, partition: 0, value: 'v' })), {
      topic,
      partition: 0,
      offset: -1n,
    });
    const consumer = await kit.started({ topics: [topic] });
    await eventually('the record', () => consumer.records.length === 1);
  });

  test('what the caller does to its buffers after the acknowledgement changes nothing', async (kit) => {
    const topic = await kit.topic();
    const producer = await kit.producer();
    const value = Buffer.from('mine');
    await producer.send({ topic, partition: 0, key: null, value, headers: [] });
    value.fill('x');
    const consumer = await kit.started({ topics: [topic] });
    await eventually('the record', () => consumer.records.length === 1);
    assert.deepEqual(consumer.values(), ['mine']);
  });

  test('disconnect waits for what was sent', async (kit) => {
    const topic = await kit.topic(3);
    const producer = await kit.producer();
    let acknowledged = 0;
    const sends = numbered('v', 100).map(async (value, index) => {
      await producer.send(outgoing({ topic, partition: index % 3, value }));
      acknowledged++;
    });
    await producer.disconnect();
    assert.equal(acknowledged, 100);
    await Promise.all(sends);
    await assert.rejects(producer.send(outgoing({ topic, value: 'late' })));
  });

  test('disconnect is idempotent and tolerates never-connected; both ends are told', async (kit) => {
    const producer = kit.subject.driver().createProducer();
    await producer.disconnect();
    const connected = kit.subject.driver().createProducer();
    const statuses: string[] = [];
    connected.onStatus((status) => statuses.push(status));
    await connected.connect();
    await Promise.all([connected.disconnect(), connected.disconnect()]);
    await connected.disconnect();
    assert.deepEqual(statuses, ['connected', 'disconnected']);
  });
}
