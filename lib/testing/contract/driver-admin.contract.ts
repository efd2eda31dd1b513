import assert from 'node:assert/strict';
import type { DeclareTest } from './contract.js';
import { type DriverKit, numbered } from './driver-kit.js';
import { eventually } from './eventually.js';

/** Topics, offsets and groups from the outside. */
export function adminContract(test: DeclareTest<DriverKit>): void {
  test('creates what is missing and leaves what exists as it is', async (kit) => {
    const present = await kit.topic(2);
    await kit.produce(present, ['kept']);
    const [before] = await kit.admin.describeTopics([present]);
    const missing = kit.name();
    await kit.admin.createTopics([
      { topic: present, partitions: 5 },
      { topic: missing, partitions: 3, replicationFactor: 1 },
    ]);
    const [after] = await kit.admin.describeTopics([present]);
    assert.deepEqual(after, before);
    const [made] = await kit.admin.describeTopics([missing]);
    assert.deepEqual([...made!.partitions].sort(), [0, 1, 2]);
    assert.notEqual(made!.topicId, before!.topicId);
    // It has leaders: it can be used at once.
    await kit.produce(missing, ['at once'], 2);
    await kit.admin.createTopics([]);
    await kit.deleteTopic(missing);
  });

  test('describes all topics or some; a missing one is left out and not created', async (kit) => {
    const [one, two] = [await kit.topic(1), await kit.topic(2)];
    const missing = kit.name();
    const some = await kit.admin.describeTopics([two, missing, one]);
    assert.deepEqual(some.map(({ topic }) => topic).sort(), [one, two].sort());
    const all = (await kit.admin.describeTopics()).map(({ topic }) => topic);
    for (const topic of [one, two]) assert.ok(all.includes(topic));
    assert.ok(!all.includes(missing));
    assert.deepEqual(await kit.admin.describeTopics([missing]), []);
  });

  test('a deleted topic is gone; made anew it is empty and has another id', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, ['old']);
    const [before] = await kit.admin.describeTopics([topic]);
    await kit.admin.deleteTopics([topic]);
    await eventually('it is gone', async () => (await kit.admin.describeTopics([topic])).length === 0);
    await kit.admin.createTopics([{ topic, partitions: 1 }]);
    const [after] = await kit.admin.describeTopics([topic]);
    assert.notEqual(after!.topicId, before!.topicId);
    assert.deepEqual(await kit.admin.watermarks(topic), [{ partition: 0, low: 0n, high: 0n }]);
  });

  test('createPartitions sets the new total', async (kit) => {
    const topic = await kit.topic(1);
    await kit.admin.createPartitions(topic, 4);
    const [description] = await kit.admin.describeTopics([topic]);
    assert.deepEqual([...description!.partitions].sort(), [0, 1, 2, 3]);
  });

  test('retentions tell how long topics keep records, of those that are there', async (kit) => {
    const day = 24 * 3_600_000;
    const settings: Record<string, [name: string, value: string][]> = {
      [kit.name()]: [['retention.ms', String(30 * day)]],
      [kit.name()]: [['retention.ms', '-1']],
      [kit.name()]: [
        ['cleanup.policy', 'compact'],
        ['retention.ms', String(day)],
      ],
      [kit.name()]: [['cleanup.policy', 'compact,delete']],
      [kit.name()]: [],
    };
    const topics = Object.keys(settings);
    const [finite, endless, compacted, both, plain] = topics;
    await kit.admin.createTopics(
      topics.map((topic) => ({
        topic,
        partitions: 1,
        configEntries: settings[topic]!.map(([name, value]) => ({ name, value })),
      })),
    );
    try {
      const retentions = await kit.admin.retentions([...topics, kit.name()]);
      assert.equal(retentions.size, topics.length);
      assert.equal(retentions.get(finite!), 30 * day);
      assert.equal(retentions.get(endless!), Infinity);
      assert.equal(retentions.get(compacted!), Infinity);
      assert.equal(retentions.get(both!), retentions.get(plain!));
      assert.ok(retentions.get(plain!)! > 0);
      assert.deepEqual(await kit.admin.retentions([]), new Map());
    } finally {
      for (const topic of topics) await kit.deleteTopic(topic);
    }
  });

  test('watermarks are the first and the next offset of each partition', async (kit) => {
    const topic = await kit.topic(2);
    await kit.produce(topic, numbered('v', 7), 1);
    const watermarks = await kit.admin.watermarks(topic);
    assert.deepEqual(
      [...watermarks].sort((left, right) => left.partition - right.partition),
      [
        { partition: 0, low: 0n, high: 0n },
        { partition: 1, low: 0n, high: 7n },
      ],
    );
  });

  test('committed offsets: -1 where there is none, settable without members only', async (kit) => {
    const topic = await kit.topic(2);
    await kit.produce(topic, numbered('v', 5), 1);
    const groupId = kit.name();
    const offsets = async () =>
      (await kit.admin.committed(groupId, topic))
        .sort((left, right) => left.partition - right.partition)
        .map(({ offset }) => offset);
    assert.deepEqual(await offsets(), [-1n, -1n]);
    await kit.admin.setCommitted(groupId, [{ topic, partition: 1, offset: 3n }]);
    assert.deepEqual(await offsets(), [-1n, 3n]);
    const consumer = await kit.started({ topics: [topic], groupId });
    await eventually('the rest', () => consumer.records.length === 2);
    await assert.rejects(kit.admin.setCommitted(groupId, [{ topic, partition: 1, offset: 0n }]));
    assert.deepEqual(await offsets(), [-1n, 3n]);
    await consumer.stop();
    await kit.admin.setCommitted(groupId, [{ topic, partition: 1, offset: 1n }]);
    assert.deepEqual(await offsets(), [-1n, 1n]);
  });

  test('deleteGroup forgets what a group committed, but not while it has members', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    const consumer = await kit.started({ topics: [topic], groupId });
    await consumer.driver.commit([{ topic, partition: 0, offset: 0n }]);
    await assert.rejects(kit.admin.deleteGroup(groupId));
    await consumer.stop();
    await kit.admin.deleteGroup(groupId);
    assert.deepEqual(await kit.admin.committed(groupId, topic), [{ topic, partition: 0, offset: -1n }]);
    const next = await kit.started({ topics: [topic], groupId });
    assert.equal(next.driver.membership!.generationId, 1);
  });

  test('removeMember tolerates a member and a group that are not there', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    assert.equal(await kit.admin.removeMember(kit.name(), 'nobody'), false);
    const consumer = await kit.started({ topics: [topic], groupId });
    assert.equal(await kit.admin.removeMember(groupId, 'nobody'), false);
    assert.equal(await consumer.driver.confirmMembership(), true);
  });

  test('memberIds are those that the coordinator counts', async (kit) => {
    const topic = await kit.topic(2);
    const groupId = kit.name();
    assert.deepEqual(await kit.admin.memberIds(groupId), []);
    const [first, second] = [
      kit.consumer({ topics: [topic], groupId }),
      kit.consumer({ topics: [topic], groupId }),
    ];
    await Promise.all([first.start(), second.start()]);
    const ids = () => [first, second].map(({ driver }) => driver.membership!.memberId).sort();
    await eventually('both are in it', async () => String(await members()) === String(ids()));
    const [removed, left] = [first.driver.membership!.memberId, second.driver.membership!.memberId];
    await kit.admin.removeMember(groupId, removed);
    const after = await members();
    assert.ok(after.includes(left) && !after.includes(removed));
    async function members(): Promise<string[]> {
      return [...(await kit.admin.memberIds(groupId))].sort();
    }
  });

  test('a removed member makes room at once', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    const first = await kit.started({ topics: [topic], groupId });
    const { memberId } = first.driver.membership!;
    assert.equal(await kit.admin.removeMember(groupId, memberId), true);
    const second = kit.consumer({ topics: [topic], groupId });
    await second.start();
    await eventually('one of them holds the partition', () => first.owned.length + second.owned.length === 1);
    assert.notEqual(first.driver.membership!.memberId, undefined);
  });
}
