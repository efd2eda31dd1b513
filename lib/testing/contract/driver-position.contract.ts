import assert from 'node:assert/strict';
import type { DeclareTest } from './contract.js';
import { type DriverKit, numbered, outgoing } from './driver-kit.js';
import { eventually, LONG_MS, SOON_MS } from './eventually.js';

/** Where reading goes on: without commits, around pauses and seeks, past what is gone. */
export function positionContract(test: DeclareTest<DriverKit>): void {
  test('reading goes on without any commit, and commits do not move it', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    await kit.produce(topic, numbered('a', 10));
    const consumer = await kit.started({ topics: [topic], groupId });
    await eventually('the first ten', () => consumer.records.length === 10);
    await consumer.driver.commit([{ topic, partition: 0, offset: 3n }]);
    await kit.produce(topic, numbered('b', 10));
    await eventually('the next ten', () => consumer.records.length === 20);
    assert.equal((await kit.admin.committed(groupId, topic))[0]!.offset, 3n);
    assert.deepEqual(consumer.values(), [...numbered('a', 10), ...numbered('b', 10)]);
  });

  test('where the records of a leader epoch end is known', async (kit) => {
    const topic = await kit.topic();
    const partition = { topic, partition: 0 };
    await kit.produce(topic, numbered('a', 10));
    const consumer = await kit.started({ topics: [topic] });
    await eventually('the first ten', () => consumer.records.length === 10);
    const [epoch] = new Set(consumer.records.map(({ leaderEpoch }) => leaderEpoch));
    assert.ok(epoch !== undefined && epoch >= 0);
    assert.equal(await consumer.driver.endOfEpoch(partition, epoch), 10n);
  });

  test('a paused partition hands nothing over while others go on; a resumed one goes on where it was', async (kit) => {
    const topic = await kit.topic(2);
    const [paused, other] = [0, 1].map((partition) => ({ topic, partition }));
    const consumer = await kit.started({ topics: [topic] });
    await kit.produce(topic, numbered('a', 5), 0);
    await eventually('the first five', () => consumer.of(paused!).length === 5);
    consumer.pause(paused!);
    await kit.produce(topic, numbered('b', 5), 0);
    for (const round of numbered('round', 5)) {
      await kit.produce(topic, [round], 1);
      await eventually(round, () => consumer.values(other).includes(round));
    }
    assert.equal(consumer.of(paused!).length, 5);
    consumer.resume(paused!);
    await eventually('the rest', () => consumer.of(paused!).length === 10);
    assert.deepEqual(consumer.values(paused), [...numbered('a', 5), ...numbered('b', 5)]);
  });

  test('a pause drops what was fetched already', async (kit) => {
    const topic = await kit.topic(4);
    const partitions = [0, 1, 2, 3].map((partition) => ({ topic, partition }));
    for (const { partition } of partitions) await kit.produce(topic, numbered('v', 200), partition);
    // Small fetches and a pause of everything in each hand-over: whatever was fetched along with it is in the way.
    const consumer = await kit.started(
      { topics: [topic], maxBytesPerPartition: 2000 },
      { onRecords: (_partition, _records, self) => self.pause(...partitions) },
    );
    await eventually('all records, a pause after each hand-over', () => {
      consumer.resume(...partitions);
      return consumer.records.length >= 800;
    });
    for (const each of partitions) assert.deepEqual(consumer.values(each), numbered('v', 200));
  });

  test('resume does not wait for the longest fetch', async (kit) => {
    const topic = await kit.topic(2);
    const consumer = await kit.started({ topics: [topic], maxWaitTime: LONG_MS });
    const partitions = [0, 1].map((partition) => ({ topic, partition }));
    consumer.pause(...partitions);
    await kit.produce(topic, ['a'], 0);
    await kit.produce(topic, ['b'], 1);
    consumer.resume(partitions[0]!);
    await eventually('the record of the one', () => consumer.records.length === 1, SOON_MS);
    // Now a fetch for one partition is waiting, and the other one has to get in.
    consumer.resume(partitions[1]!);
    await eventually('the record of the other', () => consumer.records.length === 2, SOON_MS);
  });

  test('seek goes back and forth; the next record is the first at or after it', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, numbered('v', 10));
    const consumer = await kit.started({ topics: [topic] });
    await eventually('all ten', () => consumer.records.length === 10);
    consumer.seek({ topic, partition: 0, offset: 7n });
    await eventually('three again', () => consumer.records.length === 13);
    assert.equal(consumer.records[10]!.offset, 7n);
    consumer.pause({ topic, partition: 0 });
    consumer.seek({ topic, partition: 0, offset: 0n });
    consumer.seek({ topic, partition: 0, offset: 9n });
    consumer.resume({ topic, partition: 0 });
    await eventually('the last again', () => consumer.records.length === 14);
    assert.equal(consumer.records[13]!.offset, 9n);
  });

  test('a seek drops what was fetched already', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, numbered('v', 300));
    let seeks = 0;
    const consumer = await kit.started(
      { topics: [topic], maxBytesPerPartition: 2000 },
      {
        onRecords: (_partition, records, self) => {
          if (seeks++ < 20) self.seek({ topic, partition: 0, offset: records[0]!.offset + 1n });
        },
      },
    );
    await eventually('the end', () => consumer.records.at(-1)?.offset === 299n);
    assert.equal(new Set(consumer.values()).size, 300);
    // Now a fetch is waiting: what it brings was asked for from where the reader is no more.
    const producer = await kit.producer();
    for (let round = 0n; round < 30n; round++) {
      await producer.send(outgoing({ topic, value: `late-${round}` }));
      consumer.seek({ topic, partition: 0, offset: 290n + round });
    }
    await eventually('the new end', () => consumer.records.at(-1)?.offset === 329n);
  });

  test('a seek does not wait for the longest fetch', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, ['a']);
    const consumer = await kit.started({ topics: [topic], maxWaitTime: LONG_MS });
    await eventually('the record', () => consumer.records.length === 1);
    consumer.seek({ topic, partition: 0, offset: 0n });
    await eventually('the record again', () => consumer.records.length === 2, SOON_MS);
  });

  test('a seek and a pause while the assignment is being taken hold from the first record on', async (kit) => {
    const topic = await kit.topic(2);
    for (const partition of [0, 1]) await kit.produce(topic, numbered('v', 5), partition);
    const [sought, paused] = [0, 1].map((partition) => ({ topic, partition }));
    const consumer = await kit.started(
      { topics: [topic] },
      {
        onAssigned: (_partitions, self) => {
          self.seek({ ...sought!, offset: 3n });
          self.pause(paused!);
        },
      },
    );
    await eventually('the records after the seek', () => consumer.of(sought!).length === 2);
    await kit.produce(topic, ['later']);
    await eventually('a later one', () => consumer.of(sought!).length === 3);
    assert.deepEqual(consumer.values(sought), ['v-3', 'v-4', 'later']);
    assert.equal(consumer.of(paused!).length, 0);
    consumer.resume(paused!);
    await eventually('the paused ones', () => consumer.of(paused!).length === 5);
  });

  test('a seek past the end is told, and reading goes on where it says', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, numbered('v', 5));
    const consumer = await kit.started({ topics: [topic] });
    await eventually('all five', () => consumer.records.length === 5);
    consumer.seek({ topic, partition: 0, offset: 1000n });
    await eventually('the notice', () => consumer.resets.length === 1);
    const [{ partition, wanted, resumeAt }] = consumer.resets as [(typeof consumer.resets)[0]];
    assert.deepEqual(
      [partition.topic, partition.partition, partition.rebalanceId],
      [topic, 0, consumer.assignments[0]![0]!.rebalanceId],
    );
    assert.equal(wanted, 1000n);
    assert.ok(resumeAt >= 0n && resumeAt <= 5n, `${resumeAt} does not exist`);
    await kit.produce(topic, ['next']);
    await eventually('the next record', () => consumer.values().includes('next'));
    assert.equal(consumer.records[5]!.offset, resumeAt);
  });

  test('a committed offset past the end is told', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    await kit.produce(topic, numbered('v', 5));
    await kit.admin.setCommitted(groupId, [{ topic, partition: 0, offset: 77n }]);
    const consumer = await kit.started({ topics: [topic], groupId });
    await eventually('the notice', () => consumer.resets.length === 1);
    assert.equal(consumer.resets[0]!.wanted, 77n);
    await kit.produce(topic, ['next']);
    await eventually('the next record', () => consumer.values().includes('next'));
  });

  test('a committed offset that was truncated is told, and reading goes on at the first record', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    await kit.produce(topic, numbered('v', 10));
    await kit.admin.setCommitted(groupId, [{ topic, partition: 0, offset: 2n }]);
    await kit.subject.truncate(topic, 0, 6n);
    assert.deepEqual(await kit.admin.watermarks(topic), [{ partition: 0, low: 6n, high: 10n }]);
    const consumer = await kit.started({ topics: [topic], groupId });
    await eventually('what is left', () => consumer.records.length === 4);
    assert.deepEqual(
      consumer.resets.map(({ wanted, resumeAt }) => ({ wanted, resumeAt })),
      [{ wanted: 2n, resumeAt: 6n }],
    );
    assert.deepEqual(consumer.values(), ['v-6', 'v-7', 'v-8', 'v-9']);
  });

  test('fetches are bounded, and a record above the bound still comes', async (kit) => {
    const topic = await kit.topic();
    const producer = await kit.producer();
    const sizes = [10, 50_000, 10, 50_000, 10];
    for (const size of sizes) await producer.send(outgoing({ topic, value: 'x'.repeat(size) }));
    const consumer = await kit.started({ topics: [topic], maxBytesPerPartition: 1000, maxBytes: 1000 });
    await eventually('all of them', () => consumer.records.length === sizes.length);
    assert.deepEqual(
      consumer.records.map(({ value }) => value!.length),
      sizes,
    );
  });
}
