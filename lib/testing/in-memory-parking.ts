import { FencedError, ParkingFullError } from '../errors/errors.js';
import type {
  DueHead,
  DueHeads,
  LedgerParking,
  LetterOrder,
  LetterPlace,
  LetterToStore,
  NewSequence,
  ParkedFilter,
  ParkedHead,
  ParkingWork,
  Postponement,
} from '../execution/ledger-parking.js';
import type { Lane } from '../execution/ledger.js';
import type { Clock } from '../runtime/clock.js';
import type { InMemoryLedgerHost } from './in-memory-ledger-host.js';
import { laneName, max, type InMemoryLedgerStore, type StoredParked } from './in-memory-ledger-store.js';

export class InMemoryParking implements LedgerParking {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly clock: Clock,
    private readonly host: InMemoryLedgerHost,
  ) {}

  async park({ fence, isShared, letter, maxSequences, ...facts }: NewSequence): Promise<void> {
    await this.host.reach();
    const { lane, epoch } = fence;
    const name = laneName(lane);
    await this.host.locking(async (lock) => {
      await lock(name, isShared ? 'shared' : 'exclusive');
      const stored = this.store.fences.get(name);
      if (stored?.epoch !== epoch) {
        throw new FencedError(`Epoch ${epoch} of ${name} was superseded, nothing was stored`);
      }
      const id = sequenceName(lane, letter.sequence);
      const own = [...this.store.parked.values()].filter((parked) => isIn(parked, lane.scope));
      if (!this.store.parked.has(id) && own.length >= maxSequences) {
        throw new ParkingFullError(
          `${lane.topic}[${lane.partition}] waits: ${maxSequences} sequences are parked`,
        );
      }
      if (!isShared) {
        const nextOffset = max(letter.offset + 1n, stored.nextOffset);
        this.store.fences.set(name, { ...stored, nextOffset, previousOffset: stored.nextOffset });
      }
      const now = this.clock.now();
      if (!this.store.parked.has(id)) {
        const { failures, age, error, retryAfter } = facts;
        this.store.parked.set(id, {
          id: this.store.nextSequenceId(),
          lane,
          sequence: Buffer.from(letter.sequence),
          letters: new Map(),
          failures,
          retries: 0,
          held: false,
          parkedAt: now,
          firstFailedAt: now - age,
          dueAt: now + retryAfter,
          error,
          order: undefined,
        });
      }
      storeParking(this.store, [{ fence, appended: [letter], removed: [] }], now);
    });
  }

  async partitionsOf<P extends { readonly topic: string; readonly partition: number }>(
    group: string,
    partitions: readonly P[],
  ): Promise<P[]> {
    await this.host.reach();
    return partitions.filter(({ topic, partition }) => this.in(group, topic, partition).length > 0);
  }

  async due(group: string, topic: string, partition: number, limit: number): Promise<DueHeads> {
    await this.host.reach();
    const now = this.clock.now();
    const parked = this.in(group, topic, partition);
    const waiting = parked.filter(({ held }) => !held).sort((left, right) => left.dueAt - right.dueAt);
    const due = waiting.filter(({ dueAt }) => dueAt <= now).slice(0, limit);
    const [first] = waiting;
    return {
      heads: due.map((each) => dueHead(each, now)),
      sequences: parked.length,
      next: first && first.dueAt - now,
    };
  }

  async postpone(lane: Lane, postponement: Postponement): Promise<void> {
    await this.host.reach();
    const { sequence, offset, retries, failures, error, retryAfter } = postponement;
    const parked = this.store.parked.get(sequenceName(lane, sequence));
    if (!parked || parked.retries !== retries || headOf(parked).offset !== offset) return;
    const now = this.clock.now();
    Object.assign(parked, {
      retries: retries + 1,
      failures,
      error,
      held: retryAfter === null,
      dueAt: now + (retryAfter ?? 0),
      firstFailedAt: parked.firstFailedAt ?? now,
    });
  }

  async holds(lane: Lane, { sequence, offset }: LetterPlace): Promise<boolean> {
    await this.host.reach();
    return this.store.parked.get(sequenceName(lane, sequence))?.letters.has(offset) ?? false;
  }

  async list(filter: ParkedFilter, limit: number, after: string | undefined): Promise<ParkedHead[]> {
    await this.host.reach();
    const found = this.fitting(filter).filter(({ id }) => Number(id) > Number(after ?? '0'));
    return found.slice(0, limit).map(parkedHead);
  }

  async retry(filter: ParkedFilter): Promise<number> {
    await this.host.reach();
    const found = this.fitting(filter);
    for (const parked of found) Object.assign(parked, { dueAt: this.clock.now(), held: false, retries: 0 });
    return found.length;
  }

  async order(id: string, order: LetterOrder, all: boolean): Promise<boolean> {
    await this.host.reach();
    const [parked] = this.fitting({ id });
    if (!parked) return false;
    const offsets = offsetsOf(parked);
    const until = (all ? offsets.at(-1) : offsets[0])!;
    Object.assign(parked, { order: { ...order, until }, dueAt: this.clock.now(), held: false });
    return true;
  }

  private in(group: string, topic: string, partition: number): StoredParked[] {
    return [...this.store.parked.values()].filter(
      ({ lane }) => lane.scope.group === group && lane.topic === topic && lane.partition === partition,
    );
  }

  private fitting({ group, handler, topic, id }: ParkedFilter): StoredParked[] {
    return [...this.store.parked.values()].filter(
      ({ lane, id: own }) =>
        (group === undefined || lane.scope.group === group) &&
        (handler === undefined || lane.scope.handler === handler) &&
        (topic === undefined || lane.topic === topic) &&
        (id === undefined || own === id),
    );
  }
}

/** @throws FencedError if a sequence that is to grow is not parked. */
export function expectParked(store: InMemoryLedgerStore, parking: readonly ParkingWork[]): void {
  for (const { fence, appended } of parking) {
    for (const { sequence } of appended) {
      if (store.parked.has(sequenceName(fence.lane, sequence))) continue;
      throw new FencedError('A record was to queue behind a parked one that is gone: nothing was stored');
    }
  }
}

/** What a transaction does with letters, all at once. */
export function storeParking(store: InMemoryLedgerStore, parking: readonly ParkingWork[], now: number): void {
  for (const { fence, appended, removed } of parking) {
    for (const letter of appended) {
      const { letters } = store.parked.get(sequenceName(fence.lane, letter.sequence))!;
      if (!letters.has(letter.offset)) letters.set(letter.offset, letter);
    }
    for (const place of removed) removeLetter(store, fence.lane, place, now);
  }
}

export function removeLetter(
  store: InMemoryLedgerStore,
  lane: Lane,
  { sequence, offset }: LetterPlace,
  now: number,
): void {
  const name = sequenceName(lane, sequence);
  const parked = store.parked.get(name);
  if (!parked?.letters.delete(offset)) return;
  if (parked.letters.size === 0) store.parked.delete(name);
  // The next letter comes with no history, and at once.
  Object.assign(parked, {
    failures: 0,
    retries: 0,
    held: false,
    firstFailedAt: undefined,
    error: undefined,
    dueAt: now,
  });
}

function sequenceName(lane: Lane, sequence: Buffer): string {
  return `${laneName(lane)}${sequence.toString('latin1')}`;
}

function isIn({ lane }: StoredParked, { group, handler }: Lane['scope']): boolean {
  return lane.scope.group === group && lane.scope.handler === handler;
}

function offsetsOf({ letters }: StoredParked): bigint[] {
  return [...letters.keys()].sort((left, right) => (left < right ? -1 : 1));
}

function headOf(parked: StoredParked): LetterToStore {
  return parked.letters.get(offsetsOf(parked)[0]!)!;
}

function dueHead(parked: StoredParked, now: number): DueHead {
  const { lane, failures, retries, firstFailedAt, order } = parked;
  const head = headOf(parked);
  return {
    ...head,
    lane,
    failures,
    retries,
    age: firstFailedAt === undefined ? undefined : now - firstFailedAt,
    order: order && head.offset <= order.until ? { state: order.state, reason: order.reason } : undefined,
  };
}

function parkedHead(parked: StoredParked): ParkedHead {
  const { id, lane, letters, failures, retries, held, dueAt, parkedAt, error } = parked;
  const { scope, topic, topicId, partition } = lane;
  const { offset, key } = headOf(parked);
  return {
    id,
    scope,
    topic,
    topicId,
    partition,
    offset,
    recordKey: key,
    letters: letters.size,
    failures,
    retries,
    state: held ? 'held' : 'waiting',
    nextRetry: held ? undefined : dueAt,
    parkedAt,
    error,
  };
}
