import { InvalidOptionError, ProduceError, TopicMissingError } from '../../../lib/errors/errors.js';
import { eventually } from '../../../lib/testing/contract/eventually.js';
import { RecordingConsumer } from '../../../lib/testing/contract/recording-consumer.js';
import { InMemoryKafka } from '../../../lib/testing/in-memory-kafka/in-memory-kafka.js';
import type { NativeConsumer } from '../../../lib/testing/in-memory-kafka/native-consumer.js';
import type { NativeProducer } from '../../../lib/testing/in-memory-kafka/native-producer.js';

const running: RecordingConsumer[] = [];

function consumer(kafka: InMemoryKafka, topic: string, groupId = 'group'): Promise<RecordingConsumer> {
  const recording = new RecordingConsumer(
    kafka.createConsumer({ groupId, topics: [topic], fromBeginning: true }),
  );
  running.push(recording);
  return recording.start();
}

afterEach(async () => {
  for (const each of running.splice(0)) {
    await each.stop();
    expect(each.violations).toEqual([]);
  }
});

describe('InMemoryKafka', () => {
  it('shows what is in a topic and takes records directly', () => {
    const kafka = new InMemoryKafka();
    kafka.createTopic('orders', 2);
    const [metadata] = kafka.produce('orders', {
      partition: 1,
      key: 'k',
      value: 'v',
      headers: { a: ['1', '2'], b: undefined },
    });
    kafka.produce('orders', { value: null, partition: 0, timestamp: '5' });
    expect(metadata).toEqual({ topic: 'orders', partition: 1, offset: 0n });
    expect(kafka.records('orders')).toMatchObject([
      { partition: 0, offset: 0n, key: null, value: null, headers: [], timestamp: 5 },
      {
        ...{ partition: 1, offset: 0n, key: Buffer.from('k'), value: Buffer.from('v') },
        headers: [
          ['a', Buffer.from('1')],
          ['a', Buffer.from('2')],
          ['b', null],
        ],
      },
    ]);
    expect(kafka.records('nothing')).toEqual([]);
  });

  it('shows what groups have committed and who is in them', async () => {
    const kafka = new InMemoryKafka();
    kafka.createTopic('orders', 2);
    const member = await consumer(kafka, 'orders');
    await member.driver.commit([{ topic: 'orders', partition: 1, offset: 4n }]);
    expect(kafka.committed('group', 'orders').map(({ offset }) => offset)).toEqual([-1n, 4n]);
    const { memberId } = member.driver.membership!;
    expect(kafka.group('group')).toEqual({ state: 'stable', generationId: 1, memberIds: [memberId] });
    await member.stop();
    expect(kafka.group('group')).toMatchObject({ state: 'empty', memberIds: [] });
  });

  it('creates topics that are produced to, with the default partitions, unless told not to', async () => {
    const lenient = new InMemoryKafka({ defaultPartitions: 4 });
    lenient.produce('new', { value: 'v' });
    const admin = lenient.createAdmin();
    await admin.connect();
    expect((await admin.describeTopics(['new']))[0]!.partitions).toEqual([0, 1, 2, 3]);
    const strict = new InMemoryKafka({ autoCreateTopics: false });
    const producer = strict.createProducer();
    await producer.connect();
    const record = { topic: 'new', key: null, value: null, headers: [] };
    await expect(producer.send(record)).rejects.toThrow(ProduceError);
    await expect(producer.send(record)).rejects.toThrow(/"new" does not exist/);
  });

  it('never calls back from within a call', async () => {
    const kafka = new InMemoryKafka();
    kafka.createTopic('orders');
    const member = await consumer(kafka, 'orders');
    const producer = kafka.createProducer();
    await producer.connect();
    for (const act of [
      () => void kafka.produce('orders', { value: 'direct' }),
      () => void producer.send({ topic: 'orders', key: null, value: Buffer.from('sent'), headers: [] }),
      () => member.seek({ topic: 'orders', partition: 0, offset: 0n }),
      () => member.resume({ topic: 'orders', partition: 0 }),
      () => kafka.faults.expel(member.driver.membership!.memberId),
    ]) {
      const before = member.records.length + member.revocations.length;
      act();
      expect(member.records.length + member.revocations.length).toBe(before);
    }
    await eventually('both records, twice', () => member.records.length >= 2);
  });

  it('hands every reader copies of its own', async () => {
    const kafka = new InMemoryKafka();
    const value = Buffer.from('mine');
    kafka.produce('orders', { value });
    value.fill('x');
    const [one, two] = [await consumer(kafka, 'orders', 'one'), await consumer(kafka, 'orders', 'two')];
    await eventually('the record', () => one.records.length === 1 && two.records.length === 1);
    one.records[0]!.value!.fill('y');
    expect(two.values()).toEqual(['mine']);
    expect(String(kafka.records('orders')[0]!.value)).toBe('mine');
  });

  it('does not read a topic made anew from where its namesake was read', async () => {
    const kafka = new InMemoryKafka();
    const admin = kafka.createAdmin();
    await admin.connect();
    kafka.produce('orders', { value: 'old-0' }, { value: 'old-1' });
    const member = await consumer(kafka, 'orders');
    await eventually('the old records', () => member.records.length === 2);
    // No fetch is under way that could notice the moment without the topic.
    member.pause({ topic: 'orders', partition: 0 });
    kafka.produce('orders', { value: 'skipped' });
    await admin.deleteTopics(['orders']);
    kafka.produce('orders', { value: 'new-0' }, { value: 'new-1' }, { value: 'new-2' });
    member.resume({ topic: 'orders', partition: 0 });
    await eventually('the new records', () => member.values().includes('new-2'));
    expect(member.values()).toEqual(['old-0', 'old-1', 'new-0', 'new-1', 'new-2']);
    await expect(
      member.driver.commit([{ topic: 'orders', partition: 0, offset: 3n }]),
    ).resolves.toBeUndefined();
  });

  it('loses the end of a log, and tells who has read it or committed behind it, also if as much came since', async () => {
    const kafka = new InMemoryKafka();
    kafka.produce('orders', ...['0', '1', '2', '3'].map((value) => ({ value })));
    const consume = async () => {
      const consumer = kafka.createConsumer({ groupId: 'group', topics: ['orders'], fromBeginning: true });
      const [read, told]: [string[], bigint[][]] = [[], []];
      await consumer.start({
        onAssigned: () => Promise.resolve(),
        onRevoked: () => Promise.resolve(),
        onRecords: (_partition, records) => void read.push(...records.map(({ value }) => String(value))),
        onStatus: () => undefined,
        onOffsetOutOfRange: (_partition, wanted, resumeAt) => void told.push([wanted, resumeAt]),
      });
      return { consumer, read, told };
    };
    const first = await consume();
    await eventually('all to be read', () => first.read.length === 4);
    await first.consumer.commit([{ topic: 'orders', partition: 0, offset: 4n }]);
    kafka.loseEnd('orders', 0, 2n);
    kafka.produce('orders', ...['a', 'b', 'c'].map((value) => ({ value })));
    await eventually('the new ones to be read', () => first.read.length === 7);
    expect(first.read.slice(4)).toEqual(['a', 'b', 'c']);
    expect(first.told).toEqual([[4n, 2n]]);
    await first.consumer.stop();

    const second = await consume();
    await eventually('the new ones to be read', () => second.read.length === 3);
    expect(second.read).toEqual(['a', 'b', 'c']);
    expect(second.told).toEqual([[4n, 2n]]);
    await second.consumer.stop();
    expect(() => kafka.loseEnd('orders', 5, 1n)).toThrow(InvalidOptionError);
  });

  it('truncates', () => {
    const kafka = new InMemoryKafka();
    kafka.produce('orders', { value: 'a' }, { value: 'b' }, { value: 'c' });
    kafka.truncate('orders', 0, 2n);
    kafka.truncate('orders', 0, 1n);
    expect(kafka.records('orders').map(({ offset }) => offset)).toEqual([2n]);
    kafka.truncate('orders', 0, 99n);
    expect(kafka.produce('orders', { value: 'd' })[0]!.offset).toBe(3n);
    expect(() => kafka.truncate('orders', 5, 1n)).toThrow(InvalidOptionError);
    expect(() => kafka.truncate('nothing', 0, 1n)).toThrow(TopicMissingError);
  });

  it('refuses options that make no sense', () => {
    expect(() => new InMemoryKafka({ defaultPartitions: 0 })).toThrow(/"defaultPartitions" must be/);
    expect(() => new InMemoryKafka({ requestTimeout: Number.NaN })).toThrow(InvalidOptionError);
  });
});

describe('native objects of InMemoryKafka', () => {
  it('the consumer commits, pauses, resumes and seeks as kafkajs names it', async () => {
    const kafka = new InMemoryKafka();
    kafka.createTopic('orders', 2);
    const member = await consumer(kafka, 'orders');
    const native = member.driver.native as NativeConsumer;
    const events: string[] = [];
    const remove = native.on(native.events.COMMIT_OFFSETS, ({ type }) => events.push(type));
    await native.commitOffsets([{ topic: 'orders', partition: 0, offset: '3' }]);
    remove();
    await native.commitOffsets([{ topic: 'orders', partition: 0, offset: '2' }]);
    expect(events).toEqual(['consumer.commit_offsets']);
    expect(kafka.committed('group', 'orders')[0]!.offset).toBe(2n);

    native.pause([{ topic: 'orders' }]);
    expect(native.paused()).toEqual([{ topic: 'orders', partitions: [0, 1] }]);
    native.resume([{ topic: 'orders', partitions: [1] }]);
    expect(native.paused()).toEqual([{ topic: 'orders', partitions: [0] }]);
    native.resume([{ topic: 'orders' }]);
    expect(native.paused()).toEqual([]);

    kafka.produce('orders', { value: 'a', partition: 0 }, { value: 'b', partition: 0 });
    await eventually('both records', () => member.records.length === 2);
    member.seek({ topic: 'orders', partition: 0, offset: 1n });
    native.seek({ topic: 'orders', partition: 0, offset: '1' });
    await eventually('the second again', () => member.records.length === 3);
    expect(member.values()).toEqual(['a', 'b', 'b']);
  });

  it('the consumer tells of joins and of its end', async () => {
    const kafka = new InMemoryKafka();
    kafka.createTopic('orders', 2);
    const driver = kafka.createConsumer({ groupId: 'group', topics: ['orders'], fromBeginning: true });
    const native = driver.native as NativeConsumer;
    const events: [string, unknown][] = [];
    for (const name of Object.values(native.events)) {
      native.on(name, ({ type, payload }) => events.push([type, payload]));
    }
    await new RecordingConsumer(driver).start();
    await driver.stop();
    expect(events.map(([type]) => type)).toEqual([
      'consumer.group_join',
      'consumer.connect',
      'consumer.stop',
      'consumer.disconnect',
    ]);
    expect(events[0]![1]).toMatchObject({ groupId: 'group', memberAssignment: { orders: [0, 1] } });
  });

  it('the producer sends kafkajs messages', async () => {
    const kafka = new InMemoryKafka();
    const producer = kafka.createProducer();
    await producer.connect();
    const native = producer.native as NativeProducer;
    const sent = await native.send({
      topic: 'orders',
      messages: [{ key: 'k', value: 'v', headers: { h: Buffer.from('x') }, timestamp: '7' }, { value: null }],
    });
    expect(sent).toEqual([{ topicName: 'orders', partition: 0, errorCode: 0, baseOffset: '0' }]);
    await native.sendBatch({ topicMessages: [{ topic: 'bills', messages: [{ value: 'w' }] }] });
    expect(kafka.records('orders')).toMatchObject([
      { key: Buffer.from('k'), value: Buffer.from('v'), headers: [['h', Buffer.from('x')]], timestamp: 7 },
      { key: null, value: null },
    ]);
    expect(kafka.records('bills')).toHaveLength(1);
    await producer.disconnect();
  });
});
