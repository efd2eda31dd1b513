import { StaleMemberError } from '../../../lib/errors/errors.js';
import { Bench, eventually, record, Recorder, unique } from './harness.js';

describe('the kafkajs driver, consuming', () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  it('hands produced records over in offset order, with the offsets that the producer was told', async () => {
    const topic = await bench.topic(3);
    const producer = await bench.producer();
    const sent = await producer.sendAll(
      Array.from({ length: 300 }, (_, index) => record(topic, `${index}`, { partition: index % 3 })),
    );
    const { recorder } = await bench.consumer({ topics: [topic] });
    await eventually('all records', () => recorder.records.length === 300);
    for (const { partition, offset, value } of recorder.records) {
      expect(sent[Number(value)]).toEqual({ topic, partition, offset });
    }
    for (const wanted of [0, 1, 2]) {
      const offsets = recorder.records
        .filter(({ partition }) => partition === wanted)
        .map(({ offset }) => offset);
      expect(offsets).toEqual(Array.from({ length: 100 }, (_, index) => BigInt(index)));
    }
  });
});
