import assert from 'node:assert/strict';
import { TopicMissingError } from '../../errors/errors.js';
import { deferred } from '../../runtime/deferred.js';
import type { DeclareTest } from './contract.js';
import { type DriverKit, numbered } from './driver-kit.js';
import { eventually, LONG_MS, SOON_MS, within } from './eventually.js';

/** Starting, where reading begins, and stopping. */
export function lifecycleContract(test: DeclareTest<DriverKit>): void {
  test('start resolves after the first assignment was taken, and no record comes before', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, ['a']);
    const taken = deferred();
    const consumer = kit.consumer({ topics: [topic] }, { onAssigned: () => taken.promise });
    let started = false;
    const start = consumer.start().then(() => (started = true));
    await eventually('the assignment', () => consumer.assignments.length === 1);
    // Another group's consumer gets through while this one is held up: there was time enough.
    const other = await kit.started({ topics: [topic] });
    await eventually('the record at another consumer', () => other.records.length === 1);
    assert.equal(started, false);
    assert.deepEqual(consumer.records, []);
    taken.resolve();
    await start;
    await eventually('the record', () => consumer.records.length === 1);
    assert.ok(consumer.statuses.includes('connected'));
  });

  test('describes the assignment: topic id, rebalance id, start offset', async (kit) => {
    const topic = await kit.topic(2);
    const [description] = await kit.admin.describeTopics([topic]);
    const consumer = await kit.started({ topics: [topic] });
    const [assignment = []] = consumer.assignments;
    assert.deepEqual(consumer.owned, [`${topic}[0]`, `${topic}[1]`]);
    for (const { topicId, rebalanceId, startOffset } of assignment) {
      assert.equal(topicId, description!.topicId);
      assert.equal(rebalanceId, assignment[0]!.rebalanceId);
      assert.equal(startOffset, 0n);
    }
  });

  test('membership is undefined before the first join, then says who we are', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    const consumer = kit.consumer({ topics: [topic], groupId });
    const membership = () => consumer.driver.membership;
    assert.equal(membership(), undefined);
    await consumer.start();
    assert.equal(membership()?.groupId, groupId);
    assert.ok(membership()!.memberId.length > 0);
    assert.ok(membership()!.generationId >= 1);
  });

  test('start rejects with TopicMissingError for a topic that does not exist, and does not create it', async (kit) => {
    const missing = kit.name();
    const present = await kit.topic();
    const consumer = kit.consumer({ topics: [present, missing] });
    await assert.rejects(consumer.start(), TopicMissingError);
    assert.deepEqual(consumer.assignments, []);
    assert.deepEqual(await kit.admin.describeTopics([missing]), []);
    await consumer.stop();
  });

  test('a start that failed leaves no member behind', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    await assert.rejects(kit.consumer({ topics: [kit.name()], groupId, sessionTimeout: LONG_MS }).start());
    const consumer = await within(
      'the next member joins at once',
      kit.started({ topics: [topic], groupId }),
      SOON_MS,
    );
    assert.deepEqual(consumer.owned, [`${topic}[0]`]);
  });

  test('a pattern that matches nothing starts with an empty assignment', async (kit) => {
    const consumer = await kit.started({ topics: [new RegExp(`^${kit.name()}$`)] });
    assert.deepEqual(consumer.assignments, [[]]);
  });

  test('fromBeginning: false starts with what comes after the start', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, ['before']);
    const consumer = await kit.started({ topics: [topic], fromBeginning: false });
    await kit.produce(topic, ['after']);
    await eventually('a record', () => consumer.records.length > 0);
    assert.deepEqual(consumer.values(), ['after']);
    assert.equal(consumer.assignments[0]![0]!.startOffset, 1n);
  });

  test('a committed offset is where the next consumer starts, whatever fromBeginning says', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, numbered('v', 5));
    const groupId = kit.name();
    for (const [offset, fromBeginning] of [
      [2n, false],
      [4n, true],
      [1n, true],
    ] as const) {
      const first = await kit.started({ topics: [topic], groupId });
      await first.driver.commit([{ topic, partition: 0, offset }]);
      await first.stop();
      const second = await kit.started({ topics: [topic], groupId, fromBeginning });
      await eventually('the records', () => second.records.length === 5 - Number(offset));
      assert.equal(second.assignments[0]![0]!.startOffset, offset);
      await second.stop();
    }
  });

  test('stop revokes, awaits it with commits accepted, and leaves the group at once', async (kit) => {
    const topic = await kit.topic(2);
    await kit.produce(topic, numbered('v', 3));
    const groupId = kit.name();
    const first = await kit.started(
      { topics: [topic], groupId, sessionTimeout: LONG_MS },
      { onRevoked: (partitions, _, consumer) => consumer.driver.commit(consumer.progress(partitions)) },
    );
    await eventually('the records', () => first.records.length === 3);
    await first.stop();
    assert.deepEqual(
      first.revocations.map(({ partitions, reason }) => [partitions.length, reason]),
      [[2, 'revoked']],
    );
    assert.ok(first.statuses.includes('stopped'));
    const committed = await kit.admin.committed(groupId, topic);
    assert.deepEqual(
      committed.map(({ offset }) => offset),
      [3n, -1n],
    );
    const second = await within('the successor joins', kit.started({ topics: [topic], groupId }), SOON_MS);
    assert.equal(second.owned.length, 2);
  });

  test('stop is idempotent, also at once, and tolerates never-started', async (kit) => {
    const topic = await kit.topic();
    const consumer = await kit.started({ topics: [topic] });
    await Promise.all([consumer.stop(), consumer.stop()]);
    await consumer.stop();
    assert.equal(consumer.revocations.length, 1);
    const idle = kit.consumer({ topics: [topic] });
    await idle.stop();
    await idle.stop();
    assert.deepEqual(
      idle.statuses.filter((status) => status === 'connected'),
      [],
    );
  });

  test('stop while records keep coming: none after it', async (kit) => {
    const topic = await kit.topic();
    const producer = await kit.producer();
    const consumer = await kit.started({ topics: [topic] });
    let producing = true;
    const flow = (async () => {
      while (producing)
        await producer.send({ topic, partition: 0, key: null, value: Buffer.from('v'), headers: [] });
    })();
    await eventually('a flow of records', () => consumer.records.length > 20);
    await consumer.stop();
    const { length } = consumer.records;
    // A later consumer has read on for a while: time enough for a straggler.
    const other = await kit.started({ topics: [topic] });
    await eventually('records elsewhere', () => other.records.length > length + 50);
    producing = false;
    await flow;
    assert.equal(consumer.records.length, length);
  });

  test('a long fetch delays neither a stop nor a join', async (kit) => {
    const topic = await kit.topic();
    const options = { topics: [topic], groupId: kit.name(), maxWaitTime: LONG_MS };
    const first = await kit.started(options);
    const second = await within('the second member joins', kit.started(options), SOON_MS);
    await within('the second member stops', second.stop(), SOON_MS);
    await within('the first member stops', first.stop(), SOON_MS);
  });

  test('stop while starting: start settles, nothing stays behind', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    const consumer = kit.consumer({ topics: [topic], groupId, sessionTimeout: LONG_MS });
    const start = consumer.start().then(
      () => 'started',
      () => 'rejected',
    );
    await within('the consumer stops', consumer.stop(), SOON_MS);
    await within('start settles', start, SOON_MS);
    assert.deepEqual(consumer.owned, []);
    const next = await within('the next member joins', kit.started({ topics: [topic], groupId }), SOON_MS);
    assert.equal(next.owned.length, 1);
  });
}
