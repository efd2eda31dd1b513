import type {
  LedgerCare,
  PruneResult,
  Retention,
  SweepBounds,
  SweepResult,
} from '../execution/ledger-care.js';
import type { OutboxRecord } from '../execution/ledger.js';
import { positionKey } from '../messages/idempotency-key.js';
import type { Clock } from '../runtime/clock.js';
import {
  executionName,
  laneName,
  type InMemoryLedgerStore,
  type StoredExecution,
  type StoredOutboxRecord,
} from './in-memory-ledger-store.js';

const SWEEP_LOCK = 'sweep';
/** First bytes of encoded keys that somebody chose. */
const GIVEN: readonly (number | undefined)[] = [0x47, 0x67];

export class InMemoryLedgerCare implements LedgerCare {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly clock: Clock,
    private readonly owner: string,
    private readonly reach: () => Promise<void>,
  ) {}

  async beat(): Promise<void> {
    await this.reach();
    this.store.instances.set(this.owner, this.clock.now());
  }

  async sweep(
    bounds: SweepBounds,
    after: bigint,
    produce: (records: readonly OutboxRecord[]) => Promise<readonly string[]>,
  ): Promise<SweepResult> {
    await this.reach();
    const { locks, outbox } = this.store;
    if (locks.holdersOf(SWEEP_LOCK).length > 0) return { produced: 0, next: undefined };
    await locks.acquire(SWEEP_LOCK, this);
    try {
      const due = [...outbox.values()]
        .filter((stored) => stored.seq > after && this.isDue(stored, bounds))
        .sort((left, right) => (left.seq < right.seq ? -1 : 1))
        .slice(0, bounds.limit);
      if (due.length === 0) return { produced: 0, next: undefined };
      const ids = await produce(due.map(({ record }) => record));
      for (const id of ids) outbox.delete(id);
      return {
        produced: ids.length,
        next: due.length === bounds.limit ? due[due.length - 1]!.seq : undefined,
      };
    } finally {
      locks.release(SWEEP_LOCK, this);
    }
  }

  /** The process died: what it held is free. */
  crash(): void {
    this.store.locks.releaseAll(this);
  }

  /** Looks at everything at once: memory holds little. */
  async prune(retention: Retention): Promise<PruneResult> {
    await this.reach();
    const { executions, replies, deadLetters, steps } = this.store;
    let deleted = 0;
    for (const [name, execution] of executions) {
      if (!this.isOver(execution, retention)) continue;
      executions.delete(name);
      // Below the fence the reply still answers a request that is delivered again.
      if (this.isAged(execution, retention)) replies.delete(name);
      deadLetters.delete(name);
      steps.delete(name);
      deleted++;
    }
    for (const [name, { leaseUntil }] of this.store.claims) {
      if (this.clock.now() - leaseUntil <= Math.max(retention.keys, retention.messageIds)) continue;
      this.store.claims.delete(name);
      executions.delete(name);
      steps.delete(name);
      deleted++;
    }
    for (const [name, { createdAt }] of replies) {
      if (executions.has(name) || this.clock.now() - createdAt <= retention.messageIds) continue;
      replies.delete(name);
      deleted++;
    }
    this.pruneRetries(retention);
    return { deleted, more: false };
  }

  private pruneRetries({ keys }: Retention): void {
    for (const [name, noted] of this.store.retries) {
      const nextOffset = this.store.fences.get(name)?.nextOffset ?? 0n;
      for (const [offset, { lastFailedAt }] of noted) {
        if (offset < nextOffset || this.clock.now() - lastFailedAt > keys) noted.delete(offset);
      }
    }
  }

  private isDue({ lane, createdAt }: StoredOutboxRecord, bounds: SweepBounds): boolean {
    const age = this.clock.now() - createdAt;
    if (age <= bounds.settled) return false;
    if (lane === null || age > bounds.abandoned) return true;
    const owner = this.store.fences.get(laneName(lane))?.owner;
    const seen = owner === undefined ? undefined : this.store.instances.get(owner);
    return seen === undefined || this.clock.now() - seen >= bounds.silence;
  }

  private isOver(execution: StoredExecution, retention: Retention): boolean {
    const { scope, state, key, topicId, partition, offset } = execution;
    if (state === 'claimed') return false;
    if (!isOwnPosition(execution) && !this.isAged(execution, retention)) return false;
    if (this.store.locks.holdersOf(executionName(scope, key)).length > 0) return false;
    const fence = this.store.fences.get(laneName({ scope, topic: '', topicId, partition }));
    return fence !== undefined && fence.nextOffset > offset;
  }

  private isAged({ state, key, finishedAt }: StoredExecution, { keys, messageIds }: Retention): boolean {
    const kept = state === 'dead' || GIVEN.includes(key[0]) ? keys : messageIds;
    return this.clock.now() - finishedAt > kept;
  }
}

/** Once the fence has passed it, nobody asks for it again. */
function isOwnPosition({ state, key, topicId, partition, offset }: StoredExecution): boolean {
  return state === 'completed' && key.equals(positionKey(topicId, partition, offset).encoded);
}
