import kafkajs, { type LogEntry, type Producer } from 'kafkajs';
import { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import { CodecMissingError, ProduceError } from '../../../lib/errors/errors.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { Bench, brokers, eventually, record, unique } from './harness.js';

describe('the kafkajs driver, producing', () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  it('settles each record by itself: one that is too large fails, its neighbours in the batch do not', async () => {
    const topic = await bench.topic(1, [{ name: 'max.message.bytes', value: '20000' }]);
    const producer = await bench.producer();
    const values = Array.from({ length: 100 }, (_, index) =>
      index === 37 ? 'x'.repeat(30_000) : `${index}`,
    );
    const results = await Promise.allSettled(values.map((value) => producer.send(record(topic, value))));
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    expect(results[37]).toMatchObject({
      status: 'rejected',
      reason: { code: 'KT_PRODUCE_FAILED', retryable: false },
    });
    expect(String((results[37] as PromiseRejectedResult).reason)).toContain('MESSAGE_TOO_LARGE');
    const { recorder } = await bench.consumer({ topics: [topic] });
    await eventually('the others', () => recorder.records.length === 99);
    expect(recorder.values).toEqual(values.filter((_, index) => index !== 37));
    for (const { offset, value } of recorder.records) {
      expect(results[Number(value)]).toMatchObject({ value: { offset } });
    }
  });

  it('settles each record by itself: one without a key in a compacted topic fails alone', async () => {
    const topic = await bench.topic(1, [{ name: 'cleanup.policy', value: 'compact' }]);
    const producer = await bench.producer();
    const keys = [Buffer.from('a'), null, Buffer.from('b')];
    const results = await Promise.allSettled(keys.map((key) => producer.send(record(topic, 'v', { key }))));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('refuses a partition or topic that does not exist, and finds partitions that are new', async () => {
    const topic = await bench.topic(1);
    const producer = await bench.producer();
    await producer.send(record(topic, 'zero', { partition: 0 }));
    const bad = producer.send(record(topic, 'lost?', { partition: 5 }));
    await expect(bad).rejects.toThrow(ProduceError);
    await expect(bad).rejects.toThrow('has 1 partitions');
    await bench.admin.createPartitions(topic, 6);
    await expect(producer.send(record(topic, 'five', { partition: 5 }))).resolves.toMatchObject({
      partition: 5,
      offset: 0n,
    });
    const missing = unique('missing');
    await expect(producer.send(record(missing, 'x'))).rejects.toThrow(`"${missing}"`);
    expect(await bench.admin.describeTopics([missing])).toEqual([]);
  });

  it('puts the sends of one turn into one request per broker; the user’s own logCreator sees it', async () => {
    const topic = await bench.topic(4);
    let requests = 0;
    const logCreator = () => (entry: LogEntry) => {
      if (entry.log.message.startsWith('Request Produce')) requests++;
    };
    const config = { brokers: brokers(), logLevel: kafkajs.logLevel.DEBUG, logCreator };
    const producer = new KafkajsDriver(config, systemClock, silentLog).createProducer();
    await producer.connect();
    const all = (count: number) =>
      producer.sendAll(
        Array.from({ length: count }, (_, index) => record(topic, `${index}`, { partition: index % 4 })),
      );
    await all(4); // the leaders of a new topic may need a second attempt
    requests = 0;
    await all(500);
    expect(requests).toBe(1);
    await producer.disconnect();
  });

  it('splits what is more than a broker takes', async () => {
    const topic = await bench.topic(1);
    const producer = await bench.producer();
    const megabytes = Array.from({ length: 40 }, () => record(topic, 'x'.repeat(100_000)));
    const sent = await producer.sendAll(megabytes);
    expect(sent.map(({ offset }) => offset)).toEqual(megabytes.map((_, index) => BigInt(index)));
  });

  it('chooses the partition that kafkajs would, or that the user’s own partitioner does', async () => {
    const topic = await bench.topic(7);
    const producer = await bench.producer();
    const partitioner = kafkajs.Partitioners.DefaultPartitioner();
    const partitionMetadata = Array.from({ length: 7 }, (_, partitionId) => ({
      ...{ partitionId, leader: 0, replicas: [0], isr: [0], partitionErrorCode: 0, offlineReplicas: [] },
    }));
    for (const text of ['a', 'order-17', 'ümläut', '']) {
      const key = Buffer.from(text);
      const { partition } = await producer.send(record(topic, 'x', { key }));
      expect(partition).toBe(partitioner({ topic, partitionMetadata, message: { key, value: 'x' } }));
    }
    const own = bench.driver.createProducer({ native: { createPartitioner: () => () => 3 } });
    await own.connect();
    await expect(own.send(record(topic, 'x'))).resolves.toMatchObject({ partition: 3 });
    await own.disconnect();
  });

  it('names the package of a codec that is missing', async () => {
    const topic = await bench.topic(1);
    const producer = bench.driver.createProducer({ compression: kafkajs.CompressionTypes.Snappy });
    await producer.connect();
    const failed = await producer.send(record(topic, 'x')).catch((error: Error) => error);
    expect((failed as Error).cause).toBeInstanceOf(CodecMissingError);
    expect(String(failed)).toContain('kafkajs-snappy');
    await producer.disconnect();
  });

  it('refuses sends before connect and after disconnect, which waits for what was sent', async () => {
    const topic = await bench.topic(1);
    const producer = bench.driver.createProducer();
    const statuses: string[] = [];
    producer.onStatus((status) => statuses.push(status));
    await expect(producer.send(record(topic, 'early'))).rejects.toThrow(ProduceError);
    await producer.connect();
    const sent = producer.send(record(topic, 'x'));
    await producer.disconnect();
    await producer.disconnect();
    await expect(sent).resolves.toMatchObject({ offset: 0n });
    await expect(producer.send(record(topic, 'late'))).rejects.toThrow(ProduceError);
    expect(statuses).toEqual(['connected', 'disconnected']);
    await producer.connect();
    await expect(producer.send(record(topic, 'again'))).resolves.toMatchObject({ offset: 1n });
    await producer.disconnect();
  });

  it('lends kafkajs’ own producer out, connected when it is first used', async () => {
    const topic = await bench.topic(1);
    const producer = await bench.producer();
    const native = producer.native as Producer;
    await native.send({ topic, messages: [{ value: 'native' }] });
    const { recorder } = await bench.consumer({ topics: [topic] });
    await eventually('its record', () => recorder.values.join() === 'native');
  });
});
