import type { LanePartition, LedgerTruncations } from '../execution/ledger-truncations.js';
import type { Fence, Lane } from '../execution/ledger.js';
import { positionKey, positionOf } from '../messages/idempotency-key.js';
import type { Clock } from '../runtime/clock.js';
import { superseded } from './in-memory-fences.js';
import type { InMemoryLedgerHost } from './in-memory-ledger-host.js';
import { executionName, laneName, max, type InMemoryLedgerStore } from './in-memory-ledger-store.js';

export class InMemoryTruncations implements LedgerTruncations {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly clock: Clock,
    private readonly host: InMemoryLedgerHost,
  ) {}

  async lanesOf({ group, topicId, partition }: LanePartition): Promise<Lane[]> {
    await this.host.reach();
    const lanes = [...this.store.fences.values()].map(({ lane }) => lane);
    return lanes.filter(
      (lane) => lane.scope.group === group && lane.topicId === topicId && lane.partition === partition,
    );
  }

  async lower({ lane, epoch }: Fence, end: bigint): Promise<void> {
    await this.host.reach();
    await this.host.locking(async (lock) => {
      const { store } = this;
      const name = laneName(lane);
      await lock(name);
      const fence = store.fences.get(name);
      if (fence?.epoch !== epoch) throw superseded(lane, epoch);
      const { nextOffset, previousOffset } = fence;
      store.fences.set(name, {
        ...fence,
        nextOffset: nextOffset < end ? nextOffset : end,
        previousOffset: previousOffset < end ? previousOffset : end,
      });
      const noted = store.retries.get(name);
      for (const offset of [...(noted?.keys() ?? [])]) if (offset >= end) noted!.delete(offset);
      this.move(lane, end);
    });
  }

  async follow({ lane, epoch }: Fence, leaderEpoch: number): Promise<void> {
    await this.host.reach();
    const { fences } = this.store;
    const fence = fences.get(laneName(lane));
    if (fence?.epoch !== epoch) throw superseded(lane, epoch);
    fences.set(laneName(lane), { ...fence, leaderEpoch: Math.max(fence.leaderEpoch ?? 0, leaderEpoch) });
  }

  /** What is stored under positions from `end` on, to a topic of its own. */
  private move(lane: Lane, end: bigint): void {
    const { store } = this;
    const to: Lane = { ...lane, topicId: this.clock.uuid() };
    let nextOffset = 0n;
    for (const execution of [...store.executions.values()]) {
      if (!isLost(lane, end, execution.scope.group, execution.scope.handler, execution.key)) continue;
      const key = moved(execution.key, to.topicId);
      const from = executionName(lane.scope, execution.key);
      const name = executionName(lane.scope, key);
      nextOffset = max(nextOffset, execution.offset + 1n);
      rename(store.executions, from, name, (stored) => ({ ...stored, key, topicId: to.topicId }));
      rename(store.claims, from, name, (claim) => ({ ...claim, key, lane: to }));
      rename(store.deadLetters, from, name, (letter) => ({ ...letter, executionKey: key, lane: to }));
      rename(store.steps, from, name, (steps) => steps);
    }
    for (const from of [...store.replies.keys()]) {
      const [group, handler, text] = JSON.parse(from) as [string, string, string];
      const key = Buffer.from(text, 'latin1');
      if (!isLost(lane, end, group, handler, key)) continue;
      rename(store.replies, from, executionName(lane.scope, moved(key, to.topicId)), (reply) => reply);
    }
    if (nextOffset === 0n) return;
    const owner = store.fences.get(laneName(lane))!.owner;
    const epoch = store.nextEpoch();
    store.fences.set(laneName(to), { lane: to, nextOffset, previousOffset: nextOffset, epoch, owner });
  }
}

function isLost({ scope, ...lane }: Lane, end: bigint, group: string, handler: string, key: Buffer): boolean {
  const position = positionOf(key);
  return (
    position !== undefined &&
    position.offset >= end &&
    position.topicId === lane.topicId &&
    position.partition === lane.partition &&
    scope.group === group &&
    scope.handler === handler
  );
}

function moved(key: Buffer, topicId: string): Buffer {
  const { partition, offset } = positionOf(key)!;
  return positionKey(topicId, partition, offset).encoded;
}

function rename<T>(map: Map<string, T>, from: string, to: string, change: (value: T) => T): void {
  const value = map.get(from);
  if (value === undefined) return;
  map.delete(from);
  map.set(to, change(value));
}
