import assert from 'node:assert/strict';
import type { DriverReader, DriverReaderOptions } from '../../driver/driver.js';
import { ConnectionClosedError, TopicMissingError } from '../../errors/errors.js';
import type { TopicPartition } from '../../messages/record.js';
import type { DeclareTest } from './contract.js';
import { type DriverKit, numbered } from './driver-kit.js';
import { eventually } from './eventually.js';

/** What a reader was handed, in order. */
class Reading {
  readonly values: string[] = [];
  private constructor(readonly reader: DriverReader) {}

  static async start(
    kit: DriverKit,
    options: DriverReaderOptions,
    onPassed: (nextOffset: bigint) => void = () => undefined,
  ): Promise<Reading> {
    const reading = new Reading(kit.reader(options));
    await reading.reader.start({
      onRecords: (_partition, records) => {
        reading.values.push(...records.map(({ value }) => String(value)));
      },
      onStatus: () => undefined,
      onOffsetOutOfRange: () => undefined,
      onPassed: (_partition, nextOffset) => onPassed(nextOffset),
    });
    return reading;
  }
}

/** Reading outside groups. */
export function readerContract(test: DeclareTest<DriverKit>): void {
  const quick = { maxWaitTime: 500, metadataMaxAge: 300 };
  const at = (topic: string, partition = 0): TopicPartition => ({ topic, partition });

  test('a reader reads what it is told to, each partition from its end as of then', async (kit) => {
    const topic = await kit.topic(3);
    for (const partition of [0, 1, 2]) await kit.produce(topic, ['before'], partition);
    const { reader, values } = await Reading.start(kit, { topics: [topic], ...quick });
    await Promise.all([reader.read(at(topic, 0)), reader.read(at(topic, 0)), reader.read(at(topic, 2))]);
    for (const partition of [0, 1, 2]) await kit.produce(topic, numbered(`p${partition}`, 50), partition);
    await eventually('a hundred records', () => values.length >= 100);
    const of = (partition: number) => values.filter((value) => value.startsWith(`p${partition}`));
    assert.deepEqual([of(0), of(2)], [numbered('p0', 50), numbered('p2', 50)]);
    assert.equal(values.length, 100);
    await reader.read(at(topic, 1));
    await kit.produce(topic, ['late'], 1);
    await eventually('the record of the partition that came later', () => values.at(-1) === 'late');
  });

  test('a reader goes on with its other partitions when one is dropped, which begins at its end if it comes back', async (kit) => {
    const topic = await kit.topic(2);
    const { reader, values } = await Reading.start(kit, { topics: [topic], ...quick });
    await Promise.all([reader.read(at(topic, 0)), reader.read(at(topic, 1))]);
    reader.drop(at(topic, 0));
    reader.drop({ topic: 'unknown', partition: 7 });
    await kit.produce(topic, ['unread'], 0);
    await kit.produce(topic, ['read'], 1);
    await eventually('a record', () => values.length === 1);
    await reader.read(at(topic, 0));
    await kit.produce(topic, ['again'], 0);
    await eventually('another', () => values.length === 2);
    assert.deepEqual(values, ['read', 'again']);
  });

  test('a reader begins where it is told to, and tells how far it is', async (kit) => {
    const topic = await kit.topic(1);
    await kit.produce(topic, numbered('r', 6));
    const passed: bigint[] = [];
    const { reader, values } = await Reading.start(kit, { topics: [topic], ...quick }, (next) =>
      passed.push(next),
    );
    await reader.read(at(topic), 2n);
    await eventually('the rest of the records', () => passed.at(-1) === 6n);
    assert.deepEqual(values, numbered('r', 6).slice(2));
    reader.drop(at(topic));
    await reader.read(at(topic), 5n);
    await eventually('the last record again', () => values.length === 5);
    assert.equal(values.at(-1), 'r-5');
  });

  test('a reader shares its partition with members of groups, and no rebalance interrupts it', async (kit) => {
    const topic = await kit.topic();
    const groupId = kit.name();
    const { reader, values } = await Reading.start(kit, { topics: [topic], ...quick });
    await reader.read(at(topic));
    let letGo!: () => void;
    const released = new Promise<void>((resolve) => (letGo = resolve));
    const member = await kit.started({ topics: [topic], groupId }, { onRevoked: () => released });
    const second = kit.consumer({ topics: [topic], groupId }).start();
    await eventually('the rebalance', () => member.revocations.length === 1);
    await kit.produce(topic, ['in the rebalance']);
    await eventually('the record', () => values.length === 1);
    letGo();
    await second;
    await kit.produce(topic, ['after']);
    await eventually('the next record', () => values.length === 2);
    assert.deepEqual(values, ['in the rebalance', 'after']);
  });

  test('a reader reads a topic that is deleted and made anew from its first record', async (kit) => {
    const topic = await kit.topic();
    await kit.produce(topic, numbered('old', 5));
    const { reader, values } = await Reading.start(kit, { topics: [topic], ...quick });
    await reader.read(at(topic));
    await kit.admin.deleteTopics([topic]);
    await kit.admin.createTopics([{ topic, partitions: 1 }]);
    await kit.produce(topic, numbered('new', 3));
    await eventually('the new records', () => values.length >= 3);
    assert.deepEqual(values, numbered('new', 3));
  });

  test('a reader does not start without its topics, and stops in any state', async (kit) => {
    const missing = kit.name();
    await assert.rejects(Reading.start(kit, { topics: [missing], ...quick }), TopicMissingError);
    const topic = await kit.topic();
    const { reader, values } = await Reading.start(kit, { topics: [topic], ...quick });
    await reader.read(at(topic));
    await Promise.all([reader.stop(), reader.stop()]);
    await kit.produce(topic, ['too late']);
    await assert.rejects(reader.read(at(topic)), ConnectionClosedError);
    assert.deepEqual(values, []);
    await kit.reader({ topics: [topic] }).stop();
  });
}
