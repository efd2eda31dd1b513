import { BrokerUnreachableError, ProduceError } from '../../../lib/errors/errors.js';
import type { DriverConsumerOptions } from '../../../lib/driver/driver.js';
import { type ListenerHooks, RecordingConsumer } from '../../../lib/testing/contract/recording-consumer.js';
import { InMemoryKafka } from '../../../lib/testing/in-memory-kafka/in-memory-kafka.js';
import { SeededClock } from '../../support/seeded-clock.js';

const SESSION_TIMEOUT = 10_000;

describe('faults of InMemoryKafka', () => {
  let clock: SeededClock;
  let kafka: InMemoryKafka;
  let members: RecordingConsumer[];

  beforeEach(() => {
    clock = new SeededClock(Number(expect.getState().currentTestName?.length));
    kafka = new InMemoryKafka({ clock });
    kafka.createTopic('orders', 2);
    members = [];
  });

  afterEach(() => {
    for (const { violations } of members) expect(violations).toEqual([]);
  });

  async function member(
    hooks?: ListenerHooks,
    options?: Partial<DriverConsumerOptions>,
  ): Promise<RecordingConsumer> {
    const driver = kafka.createConsumer({
      ...{ groupId: 'group', topics: ['orders'], fromBeginning: true, sessionTimeout: SESSION_TIMEOUT },
      ...options,
    });
    const recording = new RecordingConsumer(driver, hooks);
    members.push(recording);
    await clock.settle(recording.start());
    return recording;
  }

  async function producer() {
    const driver = kafka.createProducer();
    await clock.settle(driver.connect());
    return (value: string) =>
      driver.send({ topic: 'orders', partition: 0, key: null, value: Buffer.from(value), headers: [] });
  }

  const commit = ({ driver }: RecordingConsumer, offset: bigint) =>
    driver.commit([{ topic: 'orders', partition: 0, offset }]);
  const committed = () => kafka.committed('group', 'orders')[0]!.offset;
  const stored = () => kafka.records('orders').map(({ value }) => String(value));

  for (const by of ['the consumer', 'its member id']) {
    it(`crash by ${by}: silence from it, and its group finds out by the session timeout`, async () => {
      const dead = await member();
      kafka.faults.crash(by === 'the consumer' ? dead.driver : dead.driver.membership!.memberId);
      const crashedAt = clock.monotonic();
      kafka.produce('orders', { value: 'v', partition: 0 });
      const heir = await member();
      await clock.until(() => heir.records.length === 1);
      expect(clock.monotonic() - crashedAt).toBeGreaterThan(SESSION_TIMEOUT - 3000);
      expect(clock.monotonic() - crashedAt).toBeLessThan(SESSION_TIMEOUT + 3000);
      expect(heir.owned).toHaveLength(2);
      expect({ records: dead.records, revocations: dead.revocations }).toEqual({
        records: [],
        revocations: [],
      });
      expect(dead.statuses).toEqual(['connected']);
    });
  }

  it('crash with a commit on its way: nobody is told, and it is stored', async () => {
    const dead = await member();
    let told = false;
    commit(dead, 2n).then(
      () => (told = true),
      () => (told = true),
    );
    kafka.faults.crash(dead.driver);
    commit(dead, 1n).then(
      () => (told = true),
      () => (told = true),
    );
    await clock.run(1000);
    expect({ told, committed: committed() }).toEqual({ told: false, committed: 2n });
  });

  for (const when of ['onAssigned', 'onRevoked'] as const) {
    it(`crash inside ${when}: nothing follows`, async () => {
      const driver = kafka.createConsumer({ groupId: 'group', topics: ['orders'], fromBeginning: true });
      const dead = new RecordingConsumer(driver, { [when]: () => kafka.faults.crash(driver) });
      members.push(dead);
      void dead.start();
      await clock.until(() => dead.assignments.length === 1);
      await clock.run(100);
      if (when === 'onRevoked') kafka.faults.expel(driver.membership!.memberId);
      await clock.run(10_000);
      kafka.produce('orders', { value: 'v', partition: 0 });
      await clock.run(60_000);
      expect(dead.assignments).toHaveLength(1);
      expect(dead.revocations).toHaveLength(when === 'onRevoked' ? 1 : 0);
      expect(dead.records).toEqual([]);
      expect(kafka.group('group').memberIds).toEqual([]);
    });
  }

  it('crash of a producer: what it had sent arrives, what it sends then does not', async () => {
    const driver = kafka.createProducer();
    await clock.settle(driver.connect());
    const record = { topic: 'orders', partition: 0, key: null, headers: [] };
    let told = 0;
    const tell = () => told++;
    driver.send({ ...record, value: Buffer.from('before') }).then(tell, tell);
    kafka.faults.crash(driver);
    driver.send({ ...record, value: Buffer.from('after') }).then(tell, tell);
    await clock.run(60_000);
    expect(stored()).toEqual(['before']);
    expect(told).toBe(0);
  });

  it('expel: the member loses its partitions and comes back as another', async () => {
    const expelled = await member();
    const { memberId } = expelled.driver.membership!;
    kafka.faults.expel(memberId);
    kafka.faults.expel('nobody');
    expect(kafka.group('group').memberIds).toEqual([]);
    await clock.until(() => expelled.assignments.length === 2);
    expect(expelled.revocations.map(({ reason }) => reason)).toEqual(['lost']);
    expect(expelled.driver.membership!.memberId).not.toBe(memberId);
  });

  it('failProduce counts down, before or after the record is stored', async () => {
    const send = await producer();
    kafka.faults.failProduce(1);
    await expect(clock.settle(send('a'))).rejects.toMatchObject({ retryable: true });
    kafka.faults.failProduce(1, 'after');
    await expect(clock.settle(send('b'))).rejects.toThrow(ProduceError);
    await clock.settle(send('c'));
    expect(stored()).toEqual(['b', 'c']);
  });

  it('failProduce by a predicate lasts until it is healed', async () => {
    const send = await producer();
    const heal = kafka.faults.failProduce(({ value }) => value?.toString() === 'bad');
    await expect(clock.settle(send('bad'))).rejects.toThrow(ProduceError);
    await clock.settle(send('good'));
    await expect(clock.settle(send('bad'))).rejects.toThrow(ProduceError);
    heal();
    await clock.settle(send('bad'));
    expect(stored()).toEqual(['good', 'bad']);
  });

  it('failCommit refuses, or stores and loses the answer; the member stays a member', async () => {
    const committer = await member();
    kafka.faults.failCommit(1);
    await expect(clock.settle(commit(committer, 1n))).rejects.toThrow(BrokerUnreachableError);
    expect(committed()).toBe(-1n);
    kafka.faults.failCommit((groupId) => groupId === 'group', 'after');
    await expect(clock.settle(commit(committer, 2n))).rejects.toMatchObject({ retryable: true });
    expect(committed()).toBe(2n);
    await clock.run(60_000);
    expect(committer.assignments).toHaveLength(1);
  });

  it('a paused broker answers nothing; afterwards it does what it was asked', async () => {
    const waiting = await member();
    const send = await producer();
    kafka.faults.pauseBroker();
    const outcomes: string[] = [];
    send('late').then(
      () => outcomes.push('sent'),
      () => outcomes.push('failed'),
    );
    commit(waiting, 1n).then(
      () => outcomes.push('committed'),
      () => outcomes.push('failed'),
    );
    await clock.run(SESSION_TIMEOUT + 5000);
    expect({ outcomes, stored: stored(), committed: committed() }).toEqual({
      outcomes: [],
      stored: [],
      committed: -1n,
    });
    kafka.faults.resumeBroker();
    await clock.until(() => outcomes.length === 2 && waiting.records.length === 1);
    expect(outcomes.sort()).toEqual(['committed', 'sent']);
    expect(waiting.revocations).toEqual([]);
  });

  it('clients of a paused broker give up after the request timeout, with what they asked still to be done', async () => {
    const waiting = await member();
    kafka.faults.pauseBroker();
    await expect(clock.settle(commit(waiting, 1n))).rejects.toMatchObject({
      code: 'KT_BROKER_UNREACHABLE',
      retryable: true,
    });
    await expect(clock.settle(waiting.driver.confirmMembership())).rejects.toThrow(BrokerUnreachableError);
    const late = kafka.createConsumer({ groupId: 'late', topics: ['orders'], fromBeginning: true });
    await expect(clock.settle(new RecordingConsumer(late).start())).rejects.toThrow(BrokerUnreachableError);
    kafka.faults.resumeBroker();
    await clock.until(() => committed() === 1n);
    kafka.produce('orders', { value: 'v', partition: 0 });
    await clock.until(() => waiting.records.length === 1);
    expect(kafka.group('late').memberIds).toEqual([]);
  });

  it('a listener that throws costs a rejoin, not the consumer', async () => {
    let thrown = 0;
    const clumsy = await member({
      onRecords: () => {
        if (thrown++ === 0) throw new Error('clumsy');
      },
    });
    kafka.produce('orders', { value: 'v', partition: 0 });
    await clock.until(() => clumsy.records.length === 2);
    expect(clumsy.statuses).toEqual(['connected', 'crashed', 'connected']);
    expect(clumsy.values()).toEqual(['v', 'v']);
  });

  it('start rejects, and leaves the group, if the first assignment can not be taken', async () => {
    await expect(
      member({
        onAssigned: () => {
          throw new Error('no room');
        },
      }),
    ).rejects.toThrow('no room');
    expect(kafka.group('group').memberIds).toEqual([]);
  });

  it('members without a common assigner are told so', async () => {
    const assigner = (name: string) => ({ name, userData: () => null, assign: () => new Map() });
    await member({}, { assigners: [assigner('left')] });
    await expect(member({}, { assigners: [assigner('right')] })).rejects.toThrow(
      /"assigners" offers "right"/,
    );
  });
});
