import type { FailureNote, HeldLane, LedgerFailures, RecordFailures } from '../execution/ledger-failures.js';
import type { Lane } from '../execution/ledger.js';
import type { Clock } from '../runtime/clock.js';
import { laneName, type InMemoryLedgerStore } from './in-memory-ledger-store.js';

export class InMemoryFailures implements LedgerFailures {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly clock: Clock,
    private readonly reach: () => Promise<void>,
  ) {}

  async note({ lane, epoch }: HeldLane, { offset, failures, error }: FailureNote): Promise<void> {
    await this.reach();
    const name = laneName(lane);
    if (this.store.fences.get(name)?.epoch !== epoch) return;
    const now = this.clock.now();
    const before = this.inLane(lane).get(offset);
    this.inLane(lane).set(offset, {
      failures: Math.max(failures, before?.failures ?? 0),
      firstFailedAt: before?.firstFailedAt ?? now,
      lastFailedAt: now,
      error,
    });
  }

  async find({ lane }: HeldLane, from: bigint): Promise<RecordFailures[]> {
    await this.reach();
    const noted = this.inLane(lane);
    for (const offset of [...noted.keys()]) if (offset < from) noted.delete(offset);
    return [...noted].map(([offset, { failures, firstFailedAt }]) => ({
      offset,
      failures,
      age: this.clock.now() - firstFailedAt,
    }));
  }

  async forget(lane: Lane, offsets: readonly bigint[]): Promise<void> {
    await this.reach();
    for (const offset of offsets) this.inLane(lane).delete(offset);
  }

  private inLane(lane: Lane) {
    const name = laneName(lane);
    let noted = this.store.retries.get(name);
    if (!noted) this.store.retries.set(name, (noted = new Map()));
    return noted;
  }
}
