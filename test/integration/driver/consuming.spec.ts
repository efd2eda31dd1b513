import { StaleMemberError, TopicMissingError } from '../../../lib/errors/errors.js';
import type { KafkaRecord } from '../../../lib/messages/record.js';
import { Bench, eventually, LONG, record, Recorder, SOON, unique } from './harness.js';

describe('the kafkajs driver, consuming', () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  it('hands produced records over in offset order, with the offsets that the producer was told', async () => {
    const topic = await bench.topic(3);
    const producer = await bench.producer();
    const sent = await producer.sendAll(
      Array.from({ length: 300 }, (_, index) => record(topic, `${index}`, { partition: index % 3 })),
    );
    const { recorder } = await bench.consumer({ topics: [topic] });
    await eventually('all records', () => recorder.records.length === 300);
    for (const { partition, offset, value } of recorder.records) {
      expect(sent[Number(value)]).toEqual({ topic, partition, offset });
    }
    for (const wanted of [0, 1, 2]) {
      const offsets = recorder.records
        .filter(({ partition }) => partition === wanted)
        .map(({ offset }) => offset);
      expect(offsets).toEqual(Array.from({ length: 100 }, (_, index) => BigInt(index)));
    }
  });

  it('keeps keys, tombstones, empty values, header order, repeated and hostile header names byte by byte', async () => {
    const topic = await bench.topic();
    const producer = await bench.producer();
    const bytes = Buffer.from([0, 255, 128, 10]);
    const headers = [
      ['a', Buffer.from('1')],
      ['constructor', bytes],
      ['__proto__', Buffer.from('x')],
      ['a', Buffer.from('2')],
      ['none', null],
      ['', Buffer.alloc(0)],
      ['ümläut', Buffer.from('ß')],
    ] as const;
    await producer.sendAll([
      { topic, key: bytes, value: bytes, headers, timestamp: 1_700_000_000_123 },
      { topic, key: Buffer.from('gone'), value: null, headers: [], timestamp: 1_600_000_000_000 },
      { topic, key: null, value: Buffer.alloc(0), headers: [] },
    ]);
    const { recorder } = await bench.consumer({ topics: [topic] });
    await eventually('three records', () => recorder.records.length === 3);
    const [first, second, third] = recorder.records as [KafkaRecord, KafkaRecord, KafkaRecord];
    expect(first).toMatchObject({ key: bytes, value: bytes, timestamp: 1_700_000_000_123, offset: 0n });
    expect(first.headers).toEqual(headers);
    expect(second).toMatchObject({
      key: Buffer.from('gone'),
      value: null,
      timestamp: 1_600_000_000_000,
      headers: [],
    });
    expect(third).toMatchObject({ key: null, value: Buffer.alloc(0) });
    expect(Math.abs(third.timestamp - Date.now())).toBeLessThan(60_000);
  });

  it('decodes a record with 10 000 headers without holding up the process', async () => {
    const topic = await bench.topic();
    const producer = await bench.producer();
    const headers = Array.from(
      { length: 10_000 },
      (_, index) => [`h${index % 7}`, Buffer.from(`${index}`)] as const,
    );
    await producer.send({ ...record(topic, 'many'), headers });
    let longest = 0;
    let last = performance.now();
    const ticker = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const { recorder } = await bench.consumer({ topics: [topic] });
    await eventually('the record', () => recorder.records.length === 1);
    clearInterval(ticker);
    expect(recorder.records[0]!.headers).toEqual(headers);
    // With kafkajs' own decoding it would be 20 s.
    expect(longest).toBeLessThan(5_000);
  });

  it('pauses at once, resumes without waiting for the long poll, and seeks', async () => {
    const topic = await bench.topic(2);
    const producer = await bench.producer();
    const { consumer, recorder } = await bench.consumer({ topics: [topic], maxWaitTime: LONG });
    await producer.sendAll([0, 1].map((partition) => record(topic, 'first', { partition })));
    await eventually('both', () => recorder.records.length === 2);

    consumer.pause([{ topic, partition: 0 }]);
    await producer.sendAll([0, 1].map((partition) => record(topic, 'second', { partition })));
    await eventually('the other', () => recorder.records.length === 3);
    expect(recorder.records[2]).toMatchObject({ partition: 1 });

    // A long poll for partition 1 is under way now, and nothing will come to end it.
    consumer.resume([{ topic, partition: 0 }]);
    await eventually('the paused one', () => recorder.records.length === 4, SOON);
    expect(recorder.records[3]).toMatchObject({ partition: 0, offset: 1n });

    consumer.seek({ topic, partition: 1, offset: 0n });
    await eventually('both again', () => recorder.records.length === 6, SOON);
    expect(recorder.records.slice(4).map(({ partition, offset }) => [partition, offset])).toEqual([
      [1, 0n],
      [1, 1n],
    ]);
  });

  it('hands nothing over of what was fetched before a pause', async () => {
    const topic = await bench.topic(4);
    const producer = await bench.producer();
    const fill = Array.from({ length: 4_000 }, (_, index) =>
      record(topic, 'x'.repeat(100), { partition: index % 4 }),
    );
    await producer.sendAll(fill);
    const recorder = new Recorder();
    const all = [0, 1, 2, 3].map((partition) => ({ topic, partition }));
    const { consumer } = await bench.consumer({ topics: [topic], maxBytesPerPartition: 20_000 }, recorder);
    let pausedAt = -1;
    recorder.whenRecords = () => {
      if (pausedAt >= 0) return;
      consumer.pause(all);
      pausedAt = recorder.records.length;
    };
    await eventually('the pause', () => pausedAt >= 0);
    const others = await bench.producer();
    await others.send(record(topic, 'later', { partition: 0 }));
    await consumer.heartbeat();
    expect(recorder.records.length).toBe(pausedAt);
    consumer.resume(all);
    await eventually('the rest', () => recorder.records.length === 4_001);
    const seen = new Set(recorder.records.map(({ partition, offset }) => `${partition}:${offset}`));
    expect(seen.size).toBe(4_001);
  });

  it('keeps what a pause has left of a fetch for the resume, and drops it at a seek', async () => {
    const topic = await bench.topic();
    const producer = await bench.producer();
    // Several batches, which one fetch brings.
    for (let batch = 0; batch < 6; batch++) {
      await producer.sendAll(
        Array.from({ length: 200 }, (_, index) => record(topic, `${batch * 200 + index}`, { partition: 0 })),
      );
    }
    const recorder = new Recorder();
    const all = [{ topic, partition: 0 }];
    const { consumer } = await bench.consumer({ topics: [topic] }, recorder);
    recorder.whenRecords = () => consumer.pause(all);
    await eventually('the first part', () => recorder.records.length > 0);
    const first = recorder.records.length;
    expect(first).toBeLessThan(1_200);

    consumer.resume(all);
    await eventually('the second part', () => recorder.records.length > first);
    expect(recorder.records.map(({ offset }) => offset)).toEqual(
      recorder.records.map((_, index) => BigInt(index)),
    );

    const second = recorder.records.length;
    recorder.whenRecords = () => undefined;
    consumer.seek({ topic, partition: 0, offset: 1_190n });
    consumer.resume(all);
    await eventually('what was sought', () => recorder.records.length === second + 10);
    expect(recorder.records.slice(second).map(({ offset }) => offset)).toEqual(
      Array.from({ length: 10 }, (_, index) => BigInt(1_190 + index)),
    );
  });

  it('starts where the group has committed, else at the end or the beginning', async () => {
    const topic = await bench.topic();
    const producer = await bench.producer();
    await producer.sendAll(['a', 'b', 'c'].map((value) => record(topic, value)));
    const groupId = bench.group();
    const first = await bench.consumer({ topics: [topic], groupId });
    await eventually('three', () => first.recorder.records.length === 3);
    await first.consumer.commit([{ topic, partition: 0, offset: 2n }]);
    expect(await bench.admin.committed(groupId, topic)).toEqual([{ topic, partition: 0, offset: 2n }]);
    await first.consumer.stop();
    const second = await bench.consumer({ topics: [topic], groupId });
    await eventually('the last', () => second.recorder.records.length === 1);
    expect(second.recorder.values).toEqual(['c']);
    const late = await bench.consumer({ topics: [topic], fromBeginning: false });
    expect(late.recorder.held[0]).toMatchObject({ startOffset: 3n });
    await producer.send(record(topic, 'd'));
    await eventually('only what is new', () => late.recorder.records.length > 0);
    expect(late.recorder.values).toEqual(['d']);
  });

  it('tells when the offset does not exist any more, and goes on at the nearest that does', async () => {
    const topic = await bench.topic();
    const producer = await bench.producer();
    await producer.sendAll(['a', 'b'].map((value) => record(topic, value)));
    const { consumer, recorder } = await bench.consumer({ topics: [topic] });
    await eventually('two', () => recorder.records.length === 2);
    consumer.seek({ topic, partition: 0, offset: 77n });
    await eventually('the report', () => recorder.outOfRange.length === 1);
    expect(recorder.outOfRange).toEqual([{ wanted: 77n, resumeAt: 2n }]);
    await producer.send(record(topic, 'c'));
    await eventually('the next', () => recorder.records.length === 3);
    expect(recorder.values[2]).toBe('c');
  });

  it('leaves out what aborted transactions wrote, unless told to read uncommitted', async () => {
    const topic = await bench.topic();
    const native = bench.driver.native.producer({
      transactionalId: unique('tx'),
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await native.connect();
    for (const [value, commit] of [
      ['kept', true],
      ['aborted', false],
      ['kept too', true],
    ] as const) {
      const transaction = await native.transaction();
      await transaction.send({ topic, messages: [{ value }] });
      await (commit ? transaction.commit() : transaction.abort());
    }
    await native.disconnect();
    const committed = await bench.consumer({ topics: [topic] });
    await eventually('two', () => committed.recorder.records.length === 2);
    expect(committed.recorder.values).toEqual(['kept', 'kept too']);
    const all = await bench.consumer({ topics: [topic], readUncommitted: true });
    await eventually('three', () => all.recorder.records.length === 3);
    expect(all.recorder.values).toEqual(['kept', 'aborted', 'kept too']);
  });

  it('reads what kafkajs compressed, and keeps trying without skipping when a codec is missing', async () => {
    const topic = await bench.topic();
    const { CompressionTypes, CompressionCodecs } = (await import('kafkajs')).default;
    const compressed = bench.driver.createProducer({ compression: CompressionTypes.GZIP });
    await compressed.connect();
    await compressed.send(record(topic, 'packed'));
    await compressed.disconnect();
    const codecs = CompressionCodecs as unknown as Record<number, () => unknown>;
    const original = codecs[CompressionTypes.GZIP]!;
    // What kafkajs has in the place of a codec whose package is missing.
    codecs[CompressionTypes.GZIP] = codecs[CompressionTypes.Snappy]!;
    try {
      const { recorder } = await bench.consumer({ topics: [topic] });
      await eventually('the complaint', () => recorder.statuses.some((status) => status.includes('GZIP')));
      expect(recorder.records).toEqual([]);
      codecs[CompressionTypes.GZIP] = original;
      await eventually('the record', () => recorder.values.join() === 'packed');
      expect(recorder.statuses.at(-1)).toBe('connected');
    } finally {
      codecs[CompressionTypes.GZIP] = original;
    }
  });

  it('rejects at once, and with the name, if a topic does not exist', async () => {
    const missing = unique('missing');
    await expect(bench.consumer({ topics: [missing] })).rejects.toThrow(TopicMissingError);
    await expect(bench.consumer({ topics: [missing] })).rejects.toThrow(missing);
    expect(await bench.admin.describeTopics([missing])).toEqual([]);
  });

  it('refuses commits and heartbeats before the start and after the stop', async () => {
    const topic = await bench.topic();
    const { consumer } = await bench.consumer({ topics: [topic] });
    await consumer.stop();
    await consumer.stop();
    await expect(consumer.commit([{ topic, partition: 0, offset: 0n }])).rejects.toThrow(StaleMemberError);
    const never = bench.driver.createConsumer({
      groupId: unique('never'),
      topics: [topic],
      fromBeginning: true,
    });
    await never.stop();
  });
});
