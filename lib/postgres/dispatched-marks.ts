import type { Clock, Timer } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import type { LedgerPool } from './ledger-pool.js';
import { plainArray } from './parameters.js';
import type { Statements } from './statements.js';

/** Milliseconds that ids are collected for; a crash in between costs a second produce under the same message id. */
const DELAY = 20;
/** Milliseconds until the next try after a failure. */
const RETRY_DELAY = 1_000;
/** Ids per statement. */
const BATCH = 1_000;
/** Ids remembered while Postgres is away; older ones are forgotten, which costs a second produce as well. */
const MAX_PENDING = 100_000;

/** Deletes outbox rows whose records the broker has acknowledged: later, many at a time, and never in anybody's way. */
export class DispatchedMarks {
  private readonly pending = new Set<string>();
  private timer: Timer | undefined;
  private flushing: Promise<boolean> | undefined;
  private closed = false;

  constructor(
    private readonly pool: LedgerPool,
    private readonly statements: Statements,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  add(ids: readonly string[]): void {
    for (const id of ids) {
      if (this.pending.size >= MAX_PENDING) this.pending.delete(this.pending.values().next().value!);
      this.pending.add(id);
    }
    this.schedule(DELAY);
  }

  /** Whether a row that is still there is about to be deleted. */
  has(id: string): boolean {
    return this.pending.has(id);
  }

  /** Deletes what is noted, as far as Postgres lets it. Nothing is deleted afterwards. Never rejects. */
  async close(): Promise<void> {
    this.closed = true;
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    await this.flushing;
    while (this.pending.size > 0 && (await this.flush()));
  }

  private schedule(delay: number): void {
    if (this.closed || this.timer !== undefined || this.flushing !== undefined || this.pending.size === 0)
      return;
    this.timer = this.clock.setTimeout(() => {
      this.timer = undefined;
      this.flushing = this.flush();
      void this.flushing.then((flushed) => {
        this.flushing = undefined;
        this.schedule(flushed ? DELAY : RETRY_DELAY);
      });
    }, delay);
  }

  private async flush(): Promise<boolean> {
    const ids: string[] = [];
    for (const id of this.pending) {
      if (ids.push(id) === BATCH) break;
    }
    try {
      await this.pool.run(this.statements.dropOutbox, [plainArray(ids)]);
      for (const id of ids) this.pending.delete(id);
      return true;
    } catch (error) {
      this.log.debug(`Dispatched outbox records are not deleted yet: ${String(error)}`);
      return false;
    }
  }
}
