import assert from 'node:assert/strict';
import { StaleMemberError } from '../../errors/errors.js';
import type { DeclareTest } from './contract.js';
import { type DriverKit, numbered } from './driver-kit.js';
import { eventually } from './eventually.js';
import type { RecordingConsumer } from './recording-consumer.js';

/** Being a member, and finding out that one is none any more. */
export function membershipContract(test: DeclareTest<DriverKit>): void {
  test('a member is confirmed, may send heartbeats and commits', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    const consumer = await kit.started({ topics: [topic], groupId });
    assert.equal(await consumer.driver.confirmMembership(), true);
    await consumer.driver.heartbeat();
    await consumer.driver.commit([{ topic, partition: 0, offset: 0n }]);
    assert.equal((await kit.admin.committed(groupId, topic))[0]!.offset, 0n);
    assert.equal(consumer.assignments.length, 1);
  });

  test('a member has an id that it keeps in its generation, another one once it was expelled, and none before', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    const consumer = kit.consumer({ topics: [topic], groupId, heartbeatInterval: 300 });
    assert.equal(consumer.driver.memberId, undefined);
    await consumer.start();
    const first = consumer.driver.memberId!;
    assert.equal(consumer.driver.membership!.memberId, first);
    await kit.admin.removeMember(groupId, first);
    await eventually('the member is back', () => consumer.assignments.length >= 2);
    assert.notEqual(consumer.driver.memberId, first);
    assert.equal(consumer.driver.membership!.memberId, consumer.driver.memberId);
  });

  test('an expelled member is refused its commit, which stores nothing', async (kit) => {
    const { topic, groupId, consumer } = await expelled(kit);
    await assert.rejects(consumer.driver.commit([{ topic, partition: 0, offset: 3n }]), StaleMemberError);
    assert.equal((await kit.admin.committed(groupId, topic))[0]!.offset, -1n);
    await back(consumer);
  });

  test('an expelled member is not confirmed', async (kit) => {
    const { consumer } = await expelled(kit);
    assert.equal(await consumer.driver.confirmMembership(), false);
    await back(consumer);
  });

  test('an expelled member is refused its heartbeat', async (kit) => {
    const { consumer } = await expelled(kit);
    await assert.rejects(consumer.driver.heartbeat(), StaleMemberError);
    await back(consumer);
  });

  test('an expelled member finds out by itself', async (kit) => {
    const { consumer } = await expelled(kit, 300);
    await back(consumer);
  });

  test('others get the partitions of an expelled member, which may not commit them any more', async (kit) => {
    const topic = await kit.topic(2);
    for (const partition of [0, 1]) await kit.produce(topic, numbered('v', 3), partition);
    const groupId = kit.name();
    // Its heartbeats come too late to tell it before the others have taken over.
    const zombie = await kit.started({
      topics: [topic],
      groupId,
      sessionTimeout: 30_000,
      heartbeatInterval: 29_000,
    });
    await kit.admin.removeMember(groupId, zombie.driver.membership!.memberId);
    const other = await kit.started({ topics: [topic], groupId });
    assert.equal(other.owned.length, 2);
    await other.driver.commit([{ topic, partition: 0, offset: 3n }]);
    await assert.rejects(zombie.driver.commit([{ topic, partition: 0, offset: 1n }]), StaleMemberError);
    assert.equal((await kit.admin.committed(groupId, topic))[0]!.offset, 3n);
    await kit.shared(topic, 2, zombie, other);
    assert.equal(zombie.revocations[0]!.reason, 'lost');
  });
}

async function expelled(
  kit: DriverKit,
  heartbeatInterval = 29_000,
): Promise<{ topic: string; groupId: string; consumer: RecordingConsumer }> {
  const topic = await kit.topic();
  const groupId = kit.name();
  await kit.produce(topic, numbered('v', 3));
  const consumer = await kit.started({ topics: [topic], groupId, sessionTimeout: 30_000, heartbeatInterval });
  await eventually('the records', () => consumer.records.length === 3);
  await kit.admin.removeMember(groupId, consumer.driver.membership!.memberId);
  return { topic, groupId, consumer };
}

/** It lost its partition once, joined again as somebody new, and reads from what is committed: nothing. */
async function back(consumer: RecordingConsumer): Promise<void> {
  const { rebalanceId } = consumer.assignments[0]![0]!;
  await eventually(
    'the member is back',
    () => consumer.assignments.length >= 2 && consumer.owned.length === 1,
  );
  await eventually('the records again', () => consumer.records.length >= 6);
  assert.deepEqual(
    consumer.revocations.map(({ reason, partitions }) => [reason, partitions.length]),
    [['lost', 1]],
  );
  assert.ok(consumer.assignments[1]![0]!.rebalanceId > rebalanceId);
  assert.equal(consumer.assignments[1]![0]!.startOffset, 0n);
  assert.equal(await consumer.driver.confirmMembership(), true);
}
