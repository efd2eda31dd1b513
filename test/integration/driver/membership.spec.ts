import { StaleMemberError } from '../../../lib/errors/errors.js';
import { within } from '../../../lib/testing/contract/eventually.js';
import { Bench, eventually, LONG, record, Recorder, SOON, unique } from './harness.js';

const QUICK = { sessionTimeout: 6_000, heartbeatInterval: 200, metadataMaxAge: 300 };

describe('the kafkajs driver, as a member of a group', () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  it('shares partitions; gives them up with time to commit when another joins, and gets them back when it leaves', async () => {
    const topic = await bench.topic(4);
    const groupId = bench.group();
    const recorder = new Recorder();
    const first = await bench.consumer({ topics: [topic], groupId, ...QUICK }, recorder);
    expect(recorder.held.length).toBe(4);
    let committed: Promise<void> | undefined;
    recorder.whenRevoked = async (partitions) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      committed = first.consumer.commit(
        partitions.map(({ topic, partition }) => ({ topic, partition, offset: 0n })),
      );
      await committed;
    };
    const second = await bench.consumer({ topics: [topic], groupId, ...QUICK });
    await eventually('a fair share', () => recorder.held.length === 2 && second.recorder.held.length === 2);
    expect(recorder.revoked).toHaveLength(1);
    expect(recorder.revoked[0]).toMatchObject({ reason: 'revoked', partitions: { length: 4 } });
    await expect(committed).resolves.toBeUndefined();
    expect((await bench.admin.committed(groupId, topic)).every(({ offset }) => offset === 0n)).toBe(true);
    const held = [...recorder.held, ...second.recorder.held].map(({ partition }) => partition).sort();
    expect(held).toEqual([0, 1, 2, 3]);
    expect(recorder.held[0]!.rebalanceId).toBeGreaterThan(recorder.assigned[0]![0]!.rebalanceId);

    recorder.whenRevoked = () => Promise.resolve();
    await second.consumer.stop();
    await eventually('all of them', () => recorder.held.length === 4);
    expect(second.recorder.revoked).toMatchObject([{ reason: 'revoked' }]);
  });

  it('takes nothing over while the other member has not let go', async () => {
    const topic = await bench.topic(1);
    const groupId = bench.group();
    const slow = new Recorder();
    await bench.consumer({ topics: [topic], groupId, ...QUICK }, slow);
    let released = false;
    slow.whenRevoked = async () => {
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      released = true;
    };
    const early: boolean[] = [];
    const next = new Recorder();
    next.whenAssigned = () => Promise.resolve(void early.push(released));
    await bench.consumer({ topics: [topic], groupId, ...QUICK }, next);
    expect(early).toEqual([true]);
  });

  it('is told "lost" after a pause of the process beyond the session timeout, can store nothing, and rejoins', async () => {
    const topic = await bench.topic(1);
    const producer = await bench.producer();
    const groupId = bench.group();
    const { consumer, recorder } = await bench.consumer({ topics: [topic], groupId, ...QUICK });
    const before = consumer.membership!;
    // Another connection has the coordinator drop us, which is what the end of a session does.
    await bench.admin.removeMember(groupId, before.memberId);
    await expect(consumer.commit([{ topic, partition: 0, offset: 1n }])).rejects.toThrow(StaleMemberError);
    expect((await bench.admin.committed(groupId, topic))[0]!.offset).toBe(-1n);
    await eventually('the rejoin', () => recorder.assigned.length === 2);
    expect(recorder.revoked).toMatchObject([{ reason: 'lost' }]);
    expect(consumer.membership!.memberId).not.toBe(before.memberId);
    await producer.send(record(topic, 'after'));
    await eventually('a record', () => recorder.records.length === 1);
  });

  it('takes itself for lost when its own clock says that the session is over', async () => {
    const topic = await bench.topic(1);
    const { consumer, recorder } = await bench.consumer({ topics: [topic], ...QUICK });
    const until = Date.now() + 6_600;
    while (Date.now() < until); // a handler that blocks the process
    // Two turns of the timers, the first of which is older than the block: no answer of the broker has come in yet.
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
    expect(recorder.revoked).toHaveLength(1);
    expect(recorder.revoked[0]!.reason).toBe('lost');
    await eventually('the rejoin', () => recorder.assigned.length === 2);
    await expect(consumer.confirmMembership()).resolves.toBe(true);
  });

  it('confirms its membership, and denies it once the coordinator has dropped it', async () => {
    const topic = await bench.topic(1);
    const groupId = bench.group();
    const { consumer, recorder } = await bench.consumer({
      topics: [topic],
      groupId,
      heartbeatInterval: 3_000,
    });
    await expect(consumer.confirmMembership()).resolves.toBe(true);
    await consumer.heartbeat();
    await bench.admin.removeMember(groupId, consumer.membership!.memberId);
    await expect(consumer.confirmMembership()).resolves.toBe(false);
    await eventually('the rejoin', () => recorder.assigned.length === 2);
    await expect(consumer.confirmMembership()).resolves.toBe(true);
    await bench.admin.removeMember(groupId, 'nobody');
  });

  it('goes on heartbeating while the listener takes its time with an assignment', async () => {
    const topic = await bench.topic(1);
    const groupId = bench.group();
    const recorder = new Recorder();
    recorder.whenAssigned = () => new Promise((resolve) => setTimeout(resolve, 7_000));
    const { consumer } = await bench.consumer({ topics: [topic], groupId, ...QUICK }, recorder);
    await expect(consumer.confirmMembership()).resolves.toBe(true);
    expect(recorder.assigned).toHaveLength(1);
  });

  it('picks up partitions that are added while it runs, from their first record', async () => {
    const topic = await bench.topic(1);
    const { recorder } = await bench.consumer({ topics: [topic], fromBeginning: false, ...QUICK });
    await bench.admin.createPartitions(topic, 3);
    const producer = await bench.producer();
    await producer.sendAll([1, 2].map((partition) => record(topic, `${partition}`, { partition })));
    await eventually('three partitions', () => recorder.held.length === 3);
    await eventually('both records', () => recorder.records.length === 2);
  });

  it('matches patterns again: topics made later are read from their first record', async () => {
    const prefix = unique('pattern');
    await bench.topic(1, [], `${prefix}-one`);
    const { recorder } = await bench.consumer({
      topics: [new RegExp(`^${prefix}-`, 'g')],
      fromBeginning: false,
      ...QUICK,
    });
    expect(recorder.held.map(({ topic }) => topic)).toEqual([`${prefix}-one`]);
    await bench.topic(1, [], `${prefix}-two`);
    const producer = await bench.producer();
    await producer.send(record(`${prefix}-two`, 'hello'));
    await eventually('the new topic', () => recorder.held.length === 2);
    await eventually('its record', () => recorder.values.includes('hello'));
  });

  it('loses no record of a topic that is deleted and made anew under it', async () => {
    const topic = await bench.topic(2);
    const groupId = bench.group();
    const producer = await bench.producer();
    const { consumer, recorder } = await bench.consumer({ topics: [topic], groupId, ...QUICK });
    const old = Array.from({ length: 400 }, (_, index) =>
      record(topic, `old ${index}`, { partition: index % 2 }),
    );
    await producer.sendAll(old);
    await eventually('the old ones', () => recorder.records.length === 400);
    await consumer.commit([0, 1].map((partition) => ({ topic, partition, offset: 200n })));
    const oldId = recorder.held[0]!.topicId;

    await bench.admin.deleteTopics([topic]);
    await bench.topic(2, [], topic);
    await producer.sendAll(old.map(({ partition }, index) => record(topic, `new ${index}`, { partition })));
    await eventually('the new ones', () => recorder.records.length >= 800);
    expect(new Set(recorder.values.slice(400)).size).toBe(400);
    expect(recorder.values.slice(400).every((value) => value.startsWith('new'))).toBe(true);
    expect(recorder.held[0]!.topicId).not.toBe(oldId);
    expect(recorder.held[0]!.startOffset).toBe(0n);
    await eventually('offsets of the new one', async () =>
      (await bench.admin.committed(groupId, topic)).every(({ offset }) => offset === 0n),
    );
  });

  it('stops at once while a long poll or a join is under way, and leaves the group', async () => {
    const topic = await bench.topic(1);
    const groupId = bench.group();
    const { consumer, recorder } = await bench.consumer({ topics: [topic], groupId, maxWaitTime: LONG });
    await within('the stop', consumer.stop(), SOON);
    expect(recorder.revoked).toMatchObject([{ reason: 'revoked' }]);
    expect(recorder.statuses.at(-1)).toBe('stopped');

    const holder = new Recorder();
    await bench.consumer({ topics: [topic], groupId, ...QUICK, rebalanceTimeout: LONG }, holder);
    let letGo!: () => void;
    holder.whenRevoked = () => new Promise((resolve) => (letGo = resolve));
    const waiting = bench.driver.createConsumer({ groupId, topics: [topic], fromBeginning: true });
    const started = waiting.start(new Recorder()).catch((error: Error) => error);
    await eventually('the rebalance', () => holder.revoked.length === 1);
    await within('the stop', waiting.stop(), SOON);
    expect(holder.revoked).toHaveLength(1);
    expect(await started).toBeInstanceOf(Error);
    holder.whenRevoked = () => Promise.resolve();
    letGo();
    await eventually('the partition back', () => holder.assigned.length === 2);
  });
});
