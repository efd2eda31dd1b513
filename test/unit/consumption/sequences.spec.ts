import { newDelivery } from '../../../lib/consumption/attempt.js';
import { Sequences, type Entry, type Ordering } from '../../../lib/consumption/sequences.js';
import type { KafkaRecord } from '../../../lib/messages/record.js';

const partition = { topic: 't', topicId: 'id', partition: 0, startOffset: 0n, rebalanceId: 1 };
const handler = { name: 'handler', run: () => Promise.resolve({ failed: false as const }) };

function record(offset: number, key: string | null, bytes = 10): KafkaRecord {
  return {
    ...partition,
    offset: BigInt(offset),
    timestamp: 0,
    key: key === null ? null : Buffer.from(key),
    value: Buffer.alloc(bytes - (key?.length ?? 0)),
    headers: [],
  };
}

/** One record for each letter, under that key; `-` has none. */
function filled(ordering: Ordering, keys: string): Sequences {
  const sequences = new Sequences(ordering);
  [...keys].forEach((key, offset) => sequences.push(record(offset, key === '-' ? null : key)));
  return sequences;
}

function route(entries: readonly Entry[]): void {
  for (const entry of entries) {
    entry.deliveries ??= [newDelivery({ handler, kind: 'event' }, entry.record, partition, false)];
  }
}

/** As after a run that settled the given offsets; what is left is given back. */
function settle(sequences: Sequences, entries: readonly Entry[], ...offsets: number[]): void {
  route(entries);
  for (const { deliveries, record } of entries) {
    if (offsets.includes(Number(record.offset))) for (const delivery of deliveries!) delivery.settled = true;
  }
  for (const sequence of new Set(entries.map((entry) => entry.sequence))) sequences.giveBack(sequence);
}

const offsets = (entries: readonly Entry[]) => entries.map((entry) => Number(entry.record.offset));

describe('Sequences', () => {
  it('keep a partition in order, and give it to one at a time', () => {
    const sequences = filled('partition', 'ab-a');
    const taken = sequences.take(3, 3);
    expect(offsets(taken)).toEqual([0, 1, 2]);
    expect(sequences.hasReady).toBe(false);
    settle(sequences, taken, 0, 1);
    expect(offsets(sequences.take(10, 10))).toEqual([2, 3]);
  });

  it('let go of those behind a record that leaves', () => {
    const sequences = filled('partition', '---');
    const taken = sequences.take(2, 2);
    settle(sequences, taken, 0, 1);
    expect(taken.map(({ next }) => next)).toEqual([undefined, undefined]);
    expect(offsets(sequences.take(2, 2))).toEqual([2]);
  });

  it('keep keys in order, and give out many keys before many records of one', () => {
    const sequences = filled('key', 'aaabbc');
    expect(offsets(sequences.take(5, 5))).toEqual([0, 3, 5, 1, 4]);
  });

  it('give out at most so many records of one key', () => {
    expect(offsets(filled('key', 'aaabbc').take(5, 1))).toEqual([0, 3, 5]);
  });

  it('give out nothing of a key that is taken', () => {
    const sequences = filled('key', 'aba');
    const first = sequences.take(1, 1);
    expect(offsets(first)).toEqual([0]);
    expect(offsets(sequences.take(5, 5))).toEqual([1]);
    sequences.push(record(3, 'a'));
    expect(sequences.hasReady).toBe(false);
    settle(sequences, first, 0);
    expect(offsets(sequences.take(5, 5))).toEqual([2, 3]);
  });

  it.each(['key', 'none'] as const)('hold up no record without a key, under %s', (ordering) => {
    const sequences = filled(ordering, '--');
    expect(offsets(sequences.take(1, 1))).toEqual([0]);
    expect(offsets(sequences.take(1, 1))).toEqual([1]);
  });

  it('have no order at all under none', () => {
    const sequences = filled('none', 'aa');
    expect(offsets(sequences.take(1, 1))).toEqual([0]);
    expect(offsets(sequences.take(1, 1))).toEqual([1]);
  });

  it('tell an empty key from none', () => {
    const sequences = new Sequences('key');
    sequences.push(record(0, ''));
    sequences.push(record(1, ''));
    sequences.push(record(2, null));
    expect(offsets(sequences.take(1, 1))).toEqual([0]);
    expect(offsets(sequences.take(5, 5))).toEqual([2]);
  });

  it('give out by itself what has to run by itself, with nothing behind it', () => {
    const sequences = filled('key', 'aabb');
    const taken = sequences.take(4, 4);
    route(taken);
    taken.find((entry) => entry.record.offset === 0n)!.deliveries![0]!.alone = true;
    settle(sequences, taken);
    const alone = sequences.take(4, 4);
    expect(offsets(alone)).toEqual([0]);
    expect(offsets(sequences.take(4, 4))).toEqual([2, 3]);
    settle(sequences, alone, 0);
    expect(offsets(sequences.take(4, 4))).toEqual([1]);
  });

  it('do not run past what has to run by itself', () => {
    const sequences = filled('partition', 'aaaa');
    const taken = sequences.take(4, 4);
    route(taken);
    taken[2]!.deliveries![0]!.alone = true;
    settle(sequences, taken);
    const before = sequences.take(4, 4);
    expect(offsets(before)).toEqual([0, 1]);
    settle(sequences, before, 0, 1);
    expect(offsets(sequences.take(4, 4))).toEqual([2]);
  });

  it('count bytes until records are done', () => {
    const sequences = filled('key', 'ab');
    expect(sequences.bytes).toBe(20);
    const taken = sequences.take(2, 2);
    expect(sequences.bytes).toBe(20);
    settle(sequences, taken, 0);
    expect(sequences.bytes).toBe(10);
  });

  it('know what no handler was called for', () => {
    const sequences = filled('key', 'abc');
    const taken = sequences.take(2, 2);
    route(taken);
    taken[1]!.deliveries![0]!.runs++;
    expect([...sequences.unbegun()].sort()).toEqual([0n, 2n]);
  });
});
