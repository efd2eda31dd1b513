import type { Consumer } from 'kafkajs';
import { commitMark, commitOrigin } from '../../../lib/driver/kafkajs/commit-mark.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { GroupOffsets } from '../../support/group-offsets.js';
import { Bench, createDriver, eventually, record, Recorder } from './harness.js';

/** What brokers keep of a deleted topic, and what others commit: set by hand, as a group without members allows. */
describe('the kafkajs driver, whose group has committed offsets of a topic that is no more', () => {
  const offsets = new GroupOffsets();
  const warnings: string[] = [];
  let bench: Bench;
  let topic: string;
  let groupId: string;

  beforeAll(() => offsets.connect());
  afterAll(() => offsets.disconnect());
  beforeEach(async () => {
    warnings.length = 0;
    bench = new Bench({ ...silentLog, warn: (line) => void warnings.push(line) });
    topic = await bench.topic();
    groupId = bench.group();
  });
  afterEach(() => bench.close());

  const committed = () => offsets.read(groupId, topic);
  const setCommitted = (offset: bigint, metadata: string | null | undefined) =>
    offsets.write(groupId, { topic, partition: 0, offset, metadata });

  async function makeAnew(): Promise<void> {
    await bench.admin.deleteTopics([topic]);
    await bench.topic(1, [], topic);
  }

  async function produce(prefix: string): Promise<string[]> {
    const values = Array.from({ length: 10 }, (_, n) => `${prefix} ${n}`);
    const producer = await bench.producer();
    await producer.sendAll(values.map((value) => record(topic, value)));
    return values;
  }

  for (const fromBeginning of [true, false]) {
    it(`reads the topic that bears the name now from its first record (fromBeginning: ${fromBeginning})`, async () => {
      const first = await bench.consumer({ topics: [topic], groupId, fromBeginning });
      await produce('old');
      await eventually('the old records', () => first.recorder.records.length === 10);
      await first.consumer.commit([{ topic, partition: 0, offset: 6n }]);
      const oldId = first.recorder.held[0]!.topicId;
      await first.consumer.stop();
      const old = await committed();
      expect(commitOrigin(old.metadata)?.topicId).toBe(oldId);

      await makeAnew();
      await setCommitted(6n, old.metadata);
      const values = await produce('new');
      const { recorder } = await bench.consumer({ topics: [topic], groupId, fromBeginning });
      await eventually('the new records', () => recorder.records.length >= 10);
      expect(recorder.values).toEqual(values);
      const [held] = recorder.held;
      expect(held).toMatchObject({ startOffset: 0n });
      expect(held!.topicId).not.toBe(oldId);
      // Replaced at once: other clients, which look at no metadata, start there as well.
      const now = await committed();
      expect(now.offset).toBe(0n);
      expect(commitOrigin(now.metadata)?.topicId).toBe(held!.topicId);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toContain(`${topic}[0]`);
      expect(warnings[0]).toContain('not from 6');
    });
  }

  it('goes on where it was in a topic that is still the same', async () => {
    await produce('old');
    const first = await bench.consumer({ topics: [topic], groupId });
    await first.consumer.commit([{ topic, partition: 0, offset: 6n }]);
    await first.consumer.stop();
    const { recorder } = await bench.consumer({ topics: [topic], groupId });
    expect(recorder.held).toMatchObject([{ startOffset: 6n }]);
    expect((await committed()).offset).toBe(6n);
    expect(warnings).toEqual([]);
  });

  it('takes offsets for those of this topic that others have committed, with whatever metadata', async () => {
    await produce('old');
    const elsewhere = commitMark({
      clusterId: 'another-cluster',
      topicId: '0e5f8a3c-54a1-4d5e-9c3b-0123456789ab',
    })!;
    for (const metadata of [null, '', 'checkpoint 7', `${elsewhere} and more`, elsewhere]) {
      await setCommitted(6n, metadata);
      const { consumer, recorder } = await bench.consumer({ topics: [topic], groupId });
      expect(recorder.held).toMatchObject([{ startOffset: 6n }]);
      await consumer.stop();
      expect((await committed()).metadata ?? '').toBe(metadata ?? '');
    }
    expect(warnings).toEqual([]);
  });

  it('leaves metadata alone that a user commits', async () => {
    const { consumer, recorder } = await bench.consumer({ topics: [topic], groupId });
    const native = consumer.native as Consumer;
    await native.commitOffsets([{ topic, partition: 0, offset: '0', metadata: 'checkpoint 7' }]);
    expect((await committed()).metadata).toBe('checkpoint 7');
    await native.commitOffsets([{ topic, partition: 0, offset: '0' }]);
    expect(commitOrigin((await committed()).metadata)?.topicId).toBe(recorder.held[0]!.topicId);
  });

  it('marks what a member that has noticed nothing commits as the old one’s', async () => {
    const recorder = new Recorder();
    const over = deferred<void>();
    const anew = deferred<string>();
    recorder.whenAssigned = async ([partition]) => {
      recorder.whenAssigned = () => Promise.resolve();
      // Nothing is read yet, so nothing tells the member of the deletion.
      await makeAnew();
      await consumer.commit([{ topic, partition: 0, offset: 6n }]);
      anew.resolve(partition!.topicId);
      await over.promise;
    };
    const consumer = createDriver().createConsumer({ groupId, topics: [topic], fromBeginning: true });
    const started = consumer.start(recorder);
    try {
      const oldId = await anew.promise;
      expect(await committed()).toMatchObject({ offset: 6n });
      expect(commitOrigin((await committed()).metadata)?.topicId).toBe(oldId);
      // Its process dies, as far as the broker is concerned.
      await bench.admin.removeMember(groupId, consumer.memberId!);
      const values = await produce('new');
      const next = await bench.consumer({ topics: [topic], groupId });
      await eventually('the new records', () => next.recorder.records.length >= 10);
      expect(next.recorder.values).toEqual(values);
    } finally {
      over.resolve();
      await consumer.stop();
      await started.catch(() => undefined);
    }
  });
});
