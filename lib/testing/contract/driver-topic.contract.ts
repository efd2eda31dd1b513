import assert from 'node:assert/strict';
import type { DeclareTest } from './contract.js';
import { type DriverKit, numbered } from './driver-kit.js';
import { eventually } from './eventually.js';

const METADATA_MAX_AGE_MS = 400;

/** Topics that grow, come, and are deleted and made anew under running consumers. */
export function topicContract(test: DeclareTest<DriverKit>): void {
  for (const fromBeginning of [true, false]) {
    test(`added partitions are picked up and read from their first record (fromBeginning: ${fromBeginning})`, async (kit) => {
      const topic = await kit.topic(1);
      const consumer = await kit.started({
        topics: [topic],
        fromBeginning,
        metadataMaxAge: METADATA_MAX_AGE_MS,
      });
      await kit.admin.createPartitions(topic, 3);
      for (const partition of [1, 2]) await kit.produce(topic, numbered(`p${partition}`, 3), partition);
      await eventually('three partitions', () => consumer.owned.length === 3);
      await eventually('their records', () => consumer.records.length === 6);
      assert.deepEqual(consumer.values({ topic, partition: 2 }), numbered('p2', 3));
    });
  }

  for (const fromBeginning of [true, false]) {
    test(`a topic made anew has another id and is read from its first record (fromBeginning: ${fromBeginning})`, async (kit) => {
      const topic = await kit.topic(2);
      const groupId = kit.name();
      const consumer = await kit.started({
        topics: [topic],
        groupId,
        fromBeginning,
        metadataMaxAge: METADATA_MAX_AGE_MS,
      });
      for (const partition of [0, 1]) await kit.produce(topic, numbered('old', 5), partition);
      await eventually('the old records', () => consumer.records.length === 10);
      await consumer.driver.commit([0, 1].map((partition) => ({ topic, partition, offset: 5n })));
      const [old] = consumer.assignments[0]!;
      await kit.admin.deleteTopics([topic]);
      await kit.admin.createTopics([{ topic, partitions: 2 }]);
      for (const partition of [0, 1]) await kit.produce(topic, numbered('new', 3), partition);
      await eventually('the new records', () => consumer.records.length >= 16);
      const latest = consumer.assignments.at(-1)!;
      assert.equal(latest.length, 2);
      for (const { topicId, startOffset } of latest) {
        assert.notEqual(topicId, old!.topicId);
        assert.equal(startOffset, 0n);
      }
      assert.equal(consumer.revocations[0]!.reason, 'lost');
      for (const partition of [0, 1]) {
        assert.deepEqual(consumer.values({ topic, partition }).slice(5), numbered('new', 3));
      }
    });
  }

  test('a topic made anew while nobody was there is read from its first record', async (kit) => {
    const topic = await kit.topic(2);
    const groupId = kit.name();
    for (const partition of [0, 1]) await kit.produce(topic, numbered('old', 5), partition);
    const first = await kit.started({ topics: [topic], groupId });
    await eventually('the old records', () => first.records.length === 10);
    await first.driver.commit([0, 1].map((partition) => ({ topic, partition, offset: 3n })));
    await first.stop();
    await kit.admin.deleteTopics([topic]);
    await kit.admin.createTopics([{ topic, partitions: 2 }]);
    for (const partition of [0, 1]) await kit.produce(topic, numbered('new', 5), partition);
    const second = await kit.started({ topics: [topic], groupId });
    await eventually('the new records', () => second.records.length >= 10);
    for (const { topicId, startOffset } of second.assignments[0]!) {
      assert.notEqual(topicId, first.assignments[0]![0]!.topicId);
      assert.equal(startOffset, 0n);
    }
    for (const partition of [0, 1]) assert.deepEqual(second.values({ topic, partition }), numbered('new', 5));
  });

  test('patterns match topics that exist and, later, topics that come', async (kit) => {
    const prefix = kit.name();
    const present = await kit.topic(1, `${prefix}-present`);
    const bystander = await kit.topic(1, `not-${prefix}`);
    const consumer = await kit.started({
      topics: [new RegExp(`^${prefix}-`, 'g')],
      metadataMaxAge: METADATA_MAX_AGE_MS,
    });
    assert.deepEqual(consumer.owned, [`${present}[0]`]);
    const later = await kit.topic(2, `${prefix}-later`);
    for (const topic of [present, later, bystander]) await kit.produce(topic, [topic]);
    await eventually('the later topic', () => consumer.owned.length === 3);
    await eventually('both records', () => consumer.records.length >= 2);
    assert.deepEqual(new Set(consumer.values()), new Set([present, later]));
  });

  test('a name and a pattern for the same topic, and a name twice, read it once', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, numbered('v', 3));
    const consumer = await kit.started({ topics: [topic, new RegExp(`^${topic}$`), topic] });
    await eventually('the records', () => consumer.records.length >= 3);
    assert.deepEqual(consumer.owned, [`${topic}[0]`]);
    assert.deepEqual(consumer.values(), numbered('v', 3));
  });

  test('a deleted topic leaves the others of a consumer alone', async (kit) => {
    const doomed = await kit.topic();
    const other = await kit.topic();
    const consumer = await kit.started({ topics: [doomed, other], metadataMaxAge: METADATA_MAX_AGE_MS });
    await kit.admin.deleteTopics([doomed]);
    for (const round of numbered('round', 3)) {
      await kit.produce(other, [round]);
      await eventually(round, () => consumer.values({ topic: other, partition: 0 }).includes(round));
    }
  });
}
