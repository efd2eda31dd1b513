import type { KafkaRecord } from '../messages/record.js';
import type { Delivery } from './attempt.js';

/** Which records of a partition have an order among them: all, those with one key, or none. */
export type Ordering = 'partition' | 'key' | 'none';

/** A record in line, with its deliveries once it was routed. It leaves the line when all of them are settled. */
export interface Entry {
  readonly record: KafkaRecord;
  readonly sequence: Sequence;
  readonly bytes: number;
  deliveries: readonly Delivery[] | undefined;
  next: Entry | undefined;
}

/** Records that are worked on one after the other: those of a partition, those of a key, or a single one. */
export class Sequence {
  /** `undefined` for one that no later record joins. */
  readonly key: string | undefined;
  head: Entry | undefined;
  tail: Entry | undefined;
  /** Runs in a row that came to nothing by no fault of a handler. */
  interruptions = 0;
  /** It kept others of its group waiting: it shares none until it is quick again. */
  slow = false;

  constructor(key: string | undefined) {
    this.key = key;
  }
}

/**
 * The records of a partition that are not done, each in its sequence. A sequence is *ready* or *taken*: what is taken is
 * being worked on, or waits for its next try, and nobody else gets any of it before it is given back. Records stay in
 * line meanwhile, so that what is given back is where it was.
 */
export class Sequences {
  private readonly byKey = new Map<string, Sequence>();
  /** In the order in which they became ready. */
  private readonly ready = new Set<Sequence>();
  private readonly taken = new Set<Sequence>();
  private held = 0;

  constructor(private readonly ordering: Ordering) {}

  /** Bytes of the records in line. */
  get bytes(): number {
    return this.held;
  }

  get hasReady(): boolean {
    return this.ready.size > 0;
  }

  push(record: KafkaRecord): void {
    const sequence = this.sequenceOf(record);
    const entry = { record, sequence, bytes: sizeOf(record), deliveries: undefined, next: undefined };
    if (sequence.tail) sequence.tail.next = entry;
    else sequence.head = entry;
    sequence.tail = entry;
    this.held += entry.bytes;
  }

  /** Puts a record before those of its sequence that are not being worked on, to run by itself: its turn was earlier. */
  pushFront(record: KafkaRecord, deliveries: readonly Delivery[]): void {
    const sequence = this.sequenceOf(record);
    // What is taken and done by then leaves behind it.
    const entry: Entry = { record, sequence, bytes: sizeOf(record), deliveries, next: sequence.head };
    sequence.head = entry;
    sequence.tail ??= entry;
    this.held += entry.bytes;
  }

  /**
   * Takes up to `records` records from the heads of ready sequences, at most `each` of one: in turns, so that many
   * sequences get on rather than few. A record that has to run by itself comes by itself.
   */
  take(records: number, each: number): Entry[] {
    const [first] = this.ready;
    if (!first) return [];
    if (runsByItself(first)) return [this.takeHead(first)];
    const turn: (Entry | undefined)[] = [];
    for (const sequence of this.ready) {
      if (turn.length === records) break;
      if (!runsByItself(sequence)) turn.push(this.takeHead(sequence));
    }
    const entries = turn as Entry[];
    // Later turns write over the earlier ones, which are in `all` by then.
    const all = [...entries];
    for (let depth = 1; depth < each && all.length < records; depth++) {
      let left = 0;
      for (const entry of entries) {
        if (all.length === records) break;
        const { next } = entry;
        if (!next || isAlone(next)) continue;
        entries[left++] = next;
        all.push(next);
      }
      entries.length = left;
      if (left === 0) break;
    }
    return all;
  }

  /** What is settled leaves; the rest is ready, behind the others. */
  giveBack(sequence: Sequence): void {
    this.taken.delete(sequence);
    while (sequence.head && isSettled(sequence.head)) {
      const { head } = sequence;
      this.held -= head.bytes;
      sequence.head = head.next;
      // One that has left, and was promoted to the old generation, would have all behind it promoted as they leave.
      head.next = undefined;
      sequence.interruptions = 0;
    }
    if (sequence.head) {
      this.ready.add(sequence);
      return;
    }
    sequence.tail = undefined;
    if (sequence.key !== undefined) this.byKey.delete(sequence.key);
  }

  /** Offsets of the records in line that no handler was called for yet. */
  *unbegun(): Iterable<bigint> {
    for (const sequence of [...this.ready, ...this.taken]) {
      for (let entry = sequence.head; entry; entry = entry.next) {
        if (entry.deliveries?.some(({ letter }) => letter)) continue;
        if (!entry.deliveries?.some(({ runs, seenBefore }) => runs > 0 || seenBefore)) {
          yield entry.record.offset;
        }
      }
    }
  }

  /** The one that a record joins; one that is new is ready. */
  private sequenceOf(record: KafkaRecord): Sequence {
    const key = orderKey(record, this.ordering);
    const known = key === undefined ? undefined : this.byKey.get(key);
    if (known) return known;
    const sequence = new Sequence(key);
    if (key !== undefined) this.byKey.set(key, sequence);
    this.ready.add(sequence);
    return sequence;
  }

  private takeHead(sequence: Sequence): Entry {
    this.ready.delete(sequence);
    this.taken.add(sequence);
    return sequence.head!;
  }
}

function runsByItself({ slow, head }: Sequence): boolean {
  return slow || isAlone(head!);
}

function isAlone({ deliveries }: Entry): boolean {
  return deliveries !== undefined && deliveries.some(({ alone, settled }) => alone && !settled);
}

function isSettled({ deliveries }: Entry): boolean {
  return deliveries !== undefined && deliveries.every(({ settled }) => settled);
}

/** Records with the same one have an order; `undefined` has none with anybody: records without a key, for one. */
function orderKey({ key }: KafkaRecord, ordering: Ordering): string | undefined {
  if (ordering === 'partition') return '';
  return ordering === 'key' ? key?.toString('latin1') : undefined;
}

function sizeOf({ key, value, headers }: KafkaRecord): number {
  let size = (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of headers) size += name.length + (content?.length ?? 0);
  return size;
}
