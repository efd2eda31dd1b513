import { WrongCallOrderError } from '../errors/errors.js';
import type { Scope } from '../execution/ledger.js';
import type {
  ExecutionFilter,
  ExecutionInWork,
  ExecutionPage,
  LedgerExecution,
  LedgerReader,
  OutboxLag,
  ScopeCounts,
} from '../execution/ledger-reader.js';
import { describeKey } from '../messages/idempotency-key.js';
import type { Clock } from '../runtime/clock.js';
import {
  executionName,
  laneName,
  type InMemoryLedgerStore,
  type StoredExecution,
} from './in-memory-ledger-store.js';

export class InMemoryLedgerReader implements LedgerReader {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly clock: Clock,
    private readonly reach: () => Promise<void>,
  ) {}

  async find(keys: readonly Buffer[], scope: Partial<Scope>): Promise<LedgerExecution[]> {
    await this.reach();
    return this.inScope(scope)
      .filter((stored) => keys.some((key) => key.equals(stored.key)))
      .sort((left, right) => scopeName(left.scope).localeCompare(scopeName(right.scope)))
      .map((stored) => this.execution(stored));
  }

  async list(filter: ExecutionFilter, limit: number, after: string | undefined): Promise<ExecutionPage> {
    await this.reach();
    const { state, since = -Infinity, until = Infinity } = filter;
    const found = this.inScope(filter)
      .filter((stored) => state === undefined || stored.state === state)
      .filter(({ finishedAt }) => finishedAt >= since && finishedAt < until)
      .sort((left, right) => (place(left) < place(right) ? 1 : -1));
    const rest = after === undefined ? found : found.filter((stored) => place(stored) < decoded(after));
    const page = rest.slice(0, limit);
    const last = page[page.length - 1];
    return {
      executions: page.map((stored) => this.execution(stored)),
      next: last && rest.length > limit ? Buffer.from(place(last)).toString('base64url') : undefined,
    };
  }

  async counts(scope: Partial<Scope>): Promise<ScopeCounts[]> {
    await this.reach();
    const counts = new Map<string, { -readonly [Name in keyof ScopeCounts]: ScopeCounts[Name] }>();
    for (const stored of this.inScope(scope)) {
      const name = scopeName(stored.scope);
      let count = counts.get(name);
      if (!count)
        counts.set(
          name,
          (count = { ...stored.scope, completed: 0, failed: 0, dead: 0, skipped: 0, claimed: 0 }),
        );
      count[stored.state]++;
    }
    return [...counts].sort(([left], [right]) => left.localeCompare(right)).map(([, count]) => count);
  }

  async inWork({ group, handler }: Partial<Scope>, limit: number): Promise<ExecutionInWork[]> {
    await this.reach();
    return [...this.store.claims.values()]
      .filter(({ lane: { scope } }) => (group ?? scope.group) === scope.group)
      .filter(({ lane: { scope } }) => (handler ?? scope.handler) === scope.handler)
      .sort((left, right) => left.claimedAt - right.claimedAt || left.key.compare(right.key))
      .slice(0, limit)
      .map(({ lane, key, offset, instance, leaseUntil, claimedAt, takeovers }) => ({
        ...lane.scope,
        key: describeKey(key),
        topic: this.store.fences.get(laneName(lane))?.lane.topic ?? null,
        topicId: lane.topicId,
        partition: lane.partition,
        offset,
        instance,
        held: leaseUntil > this.clock.now(),
        leaseUntil,
        claimedAt,
        takeovers,
      }));
  }

  async outboxLag(): Promise<OutboxLag> {
    await this.reach();
    const [oldest] = [...this.store.outbox.values()].sort((left, right) => (left.seq < right.seq ? -1 : 1));
    if (oldest === undefined) return { records: 0, age: 0, oldest: undefined };
    const { record, createdAt } = oldest;
    return {
      records: this.store.outbox.size,
      age: this.clock.now() - createdAt,
      oldest: { id: record.id, topic: record.topic, createdAt },
    };
  }

  private inScope({ group, handler }: Partial<Scope>): StoredExecution[] {
    return [...this.store.executions.values()].filter(
      ({ scope }) =>
        (group === undefined || scope.group === group) &&
        (handler === undefined || scope.handler === handler),
    );
  }

  private execution(stored: StoredExecution): LedgerExecution {
    const { scope, key, state, attempts, error, topicId, partition, offset, finishedAt } = stored;
    const letter = this.store.deadLetters.get(executionName(scope, key));
    const fence = this.store.fences.get(laneName({ scope, topic: '', topicId, partition }));
    return {
      ...scope,
      key: describeKey(key),
      state,
      attempts,
      error,
      reason: letter?.reason ?? null,
      topic: fence?.lane.topic ?? null,
      topicId,
      partition,
      offset,
      finishedAt,
    };
  }
}

function scopeName({ group, handler }: Scope): string {
  return JSON.stringify([group, handler]);
}

/** Where an execution stands in a list: by time, then by what makes it unique. */
function place({ finishedAt, scope, key }: StoredExecution): string {
  return `${String(finishedAt).padStart(17, '0')} ${executionName(scope, key)}`;
}

function decoded(after: string): string {
  const text = Buffer.from(after, 'base64url').toString('utf8');
  if (/^\d{17} /.test(text)) return text;
  throw new WrongCallOrderError('"after" must be the "next" of an earlier page of the same list');
}
