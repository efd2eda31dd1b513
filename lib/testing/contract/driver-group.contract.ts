import assert from 'node:assert/strict';
import { StaleMemberError } from '../../errors/errors.js';
import { deferred } from '../../runtime/deferred.js';
import type { DeclareTest } from './contract.js';
import { type DriverKit, outgoing } from './driver-kit.js';
import { eventually, SOON_MS, within } from './eventually.js';
import type { ListenerHooks, RecordingConsumer } from './recording-consumer.js';

const COMMIT_ON_REVOCATION: ListenerHooks = {
  onRevoked: async (partitions, reason, consumer) => {
    if (reason === 'revoked') await consumer.driver.commit(consumer.progress(partitions));
  },
};

/** Members that share a group's partitions. */
export function groupContract(test: DeclareTest<DriverKit>): void {
  test('two members share: each partition is held by exactly one', async (kit) => {
    const topic = await kit.topic(4);
    const groupId = kit.name();
    const first = await kit.started({ topics: [topic], groupId });
    const second = await kit.started({ topics: [topic], groupId });
    await kit.shared(topic, 4, first, second);
    for (const partition of [0, 1, 2, 3]) await kit.produce(topic, [`p${partition}`], partition);
    await eventually('four records', () => first.records.length + second.records.length >= 4);
    assert.deepEqual([...first.values(), ...second.values()].sort(), ['p0', 'p1', 'p2', 'p3']);
  });

  test('a rebalance waits for onRevoked, and takes what is committed inside', async (kit) => {
    const topic = await kit.topic(2);
    for (const partition of [0, 1]) await kit.produce(topic, ['a', 'b', 'c'], partition);
    const options = { topics: [topic], groupId: kit.name() };
    const entered = deferred();
    const release = deferred();
    const first = await kit.started(options, {
      onRevoked: async (partitions, _reason, consumer) => {
        entered.resolve();
        await release.promise;
        await consumer.driver.commit(
          partitions.map(({ topic, partition }) => ({ topic, partition, offset: 2n })),
        );
      },
    });
    await eventually('all records', () => first.records.length === 6);
    const second = kit.consumer(options);
    const joined = second.start();
    await within('the revocation', entered.promise, SOON_MS);
    // New records have all the time that a whole other consumer takes to start and read them.
    await kit.produce(topic, ['d'], 0);
    const bystander = await kit.started({ topics: [topic] });
    await eventually('the new record elsewhere', () => bystander.records.length === 7);
    assert.equal(first.records.length, 6);
    assert.deepEqual(second.assignments, []);
    release.resolve();
    await joined;
    await kit.shared(topic, 2, first, second);
    for (const consumer of [first, second]) assert.equal(consumer.assignments.at(-1)![0]!.startOffset, 2n);
  });

  test('each rebalance has a higher id and starts unpaused', async (kit) => {
    const topic = await kit.topic(2);
    const options = { topics: [topic], groupId: kit.name() };
    const first = await kit.started(options);
    first.pause({ topic, partition: 0 }, { topic, partition: 1 });
    const second = await kit.started(options);
    await kit.shared(topic, 2, first, second);
    await second.stop();
    await eventually('all partitions are back', () => first.owned.length === 2);
    const ids = first.assignments.flat().map(({ rebalanceId }) => rebalanceId);
    assert.deepEqual(
      ids,
      [...ids].sort((left, right) => left - right),
    );
    assert.ok(new Set(ids).size >= 3, `too few rebalances: ${ids.join()}`);
    for (const partition of [0, 1]) await kit.produce(topic, ['v'], partition);
    await eventually('records of both', () => first.records.length === 2);
  });

  test('every record is seen exactly once when members come and go and commit what they handled', async (kit) => {
    const topic = await kit.topic(6);
    const options = { topics: [topic], groupId: kit.name() };
    const producer = await kit.producer();
    let sent = 0;
    let producing = true;
    const flow = (async () => {
      while (producing) {
        await producer.send(outgoing({ topic, partition: sent % 6, value: `v-${sent}` }));
        sent++;
      }
    })();
    const all: RecordingConsumer[] = [];
    const join = async () => {
      const consumer = await kit.started(options, COMMIT_ON_REVOCATION);
      all.push(consumer);
      return consumer;
    };
    const grown = async (consumer: RecordingConsumer) => {
      const { length } = consumer.records;
      await eventually('more records', () => consumer.records.length > length + 20);
    };
    const first = await join();
    await grown(first);
    const second = await join();
    await grown(second);
    const third = await join();
    await grown(third);
    await first.stop();
    await grown(third);
    const fourth = await join();
    await grown(fourth);
    await Promise.all([second.stop(), third.stop()]);
    await grown(fourth);
    producing = false;
    await flow;
    await eventually('every record', () => all.reduce((sum, { records }) => sum + records.length, 0) >= sent);
    const seen = all.flatMap((consumer) => consumer.values());
    assert.equal(seen.length, sent);
    assert.equal(new Set(seen).size, sent);
  });

  test('what was not committed comes again to the next holder', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, ['a', 'b', 'c', 'd']);
    const options = { topics: [topic], groupId: kit.name() };
    const first = await kit.started(options);
    await eventually('all records', () => first.records.length === 4);
    await first.driver.commit([{ topic, partition: 0, offset: 1n }]);
    await first.stop();
    const second = await kit.started(options);
    await eventually('the rest again', () => second.records.length === 3);
    assert.deepEqual(second.values(), ['b', 'c', 'd']);
  });

  test('a commit for a partition that is held no more is refused and changes nothing', async (kit) => {
    const topic = await kit.topic(2);
    for (const partition of [0, 1]) await kit.produce(topic, ['a', 'b', 'c'], partition);
    const options = { topics: [topic], groupId: kit.name() };
    const first = await kit.started(options);
    const second = await kit.started(options);
    await kit.shared(topic, 2, first, second);
    const [theirs] = second.assignments.at(-1)!;
    await second.driver.commit([{ topic, partition: theirs!.partition, offset: 3n }]);
    await assert.rejects(
      first.driver.commit([{ topic, partition: theirs!.partition, offset: 1n }]),
      StaleMemberError,
    );
    const committed = await kit.admin.committed(options.groupId, topic);
    assert.equal(committed[theirs!.partition]!.offset, 3n);
    // It was told off for that one commit and is a member like before.
    const [ours] = first.assignments.at(-1)!;
    await first.driver.commit([{ topic, partition: ours!.partition, offset: 2n }]);
  });

  test('a member that takes too long over its revocation holds the group up for the rebalance timeout only', async (kit) => {
    const topic = await kit.topic(2);
    const options = { topics: [topic], groupId: kit.name(), rebalanceTimeout: 2000 };
    const hang = deferred();
    const first = await kit.started(options, { onRevoked: () => hang.promise });
    const second = await within('the second member gets in', kit.started(options), SOON_MS);
    await kit.shared(topic, 2, first, second);
    hang.resolve();
  });
}
