import { RecordQueue } from '../../../lib/consumption/record-queue.js';
import type { KafkaRecord, RecordHeader } from '../../../lib/messages/record.js';

const record = (offset: number, headers: RecordHeader[] = []): KafkaRecord => ({
  topic: 't',
  partition: 0,
  offset: BigInt(offset),
  timestamp: 0,
  key: Buffer.from('k'),
  value: Buffer.from('value'),
  headers,
});

describe('RecordQueue', () => {
  it('gives records back in order, however they are taken', () => {
    const queue = new RecordQueue();
    const taken: bigint[] = [];
    let pushed = 0;
    for (let round = 0; round < 200; round++) {
      queue.push(Array.from({ length: round % 90 }, () => record(pushed++)));
      taken.push(...queue.take((round * 7) % 100).map(({ offset }) => offset));
    }
    taken.push(...queue.take(Infinity).map(({ offset }) => offset));
    expect(taken).toEqual(Array.from({ length: pushed }, (_, offset) => BigInt(offset)));
    expect(queue.length).toBe(0);
    expect(queue.bytes).toBe(0);
  });

  it('gives what it has where more is asked for', () => {
    const queue = new RecordQueue();
    queue.push([record(0)]);
    expect(queue.take(5)).toHaveLength(1);
    expect(queue.take(5)).toEqual([]);
  });

  it('counts all bytes that it holds, headers too', () => {
    const queue = new RecordQueue();
    queue.push([
      record(0),
      record(1, [
        ['header', Buffer.alloc(1_000)],
        ['none', null],
      ]),
    ]);
    expect(queue.bytes).toBeGreaterThanOrEqual(2 * 6 + 1_000);
    queue.take(2);
    expect(queue.bytes).toBe(0);
  });
});
