import type { AssignedPartition } from '../driver/driver.js';
import { deferred, type Deferred } from '../runtime/deferred.js';
import type { EngineContext } from './engine-context.js';
import { ReadAhead } from './read-ahead.js';

/** Stops the fetching of one partition while too much of it is held, and its handlers too while somebody asks for it. */
export class PartitionPause {
  private readonly holders = new Set<unknown>();
  private waiting: Deferred<void> | undefined;
  private full = false;
  private paused = false;
  private ended = false;
  private readonly ahead: ReadAhead;

  constructor(
    private readonly partition: AssignedPartition,
    private readonly context: Pick<EngineContext, 'options' | 'clock' | 'pause' | 'resume'>,
  ) {
    const { ordering, groupCommit, maxHeldRecords } = context.options;
    // Where only some records have an order, those further behind may be the ones that can be worked on.
    const perGroup = ordering === 'partition' ? groupCommit.maxRecords : undefined;
    this.ahead = new ReadAhead(maxHeldRecords, perGroup, context.clock);
  }

  /** Settles when the last holder has released the partition; `undefined` if there is none. */
  get released(): Promise<void> | undefined {
    return this.waiting?.promise;
  }

  /** No further handler is called until each holder has released the partition. The run under way goes on. */
  hold(holder: unknown): void {
    if (this.ended) return;
    this.holders.add(holder);
    this.waiting ??= deferred();
    this.apply();
  }

  release(holder: unknown): void {
    if (!this.holders.delete(holder) || this.holders.size > 0) return;
    this.letGo();
    this.apply();
  }

  /** Stops fetching above the bounds, goes on below half of them. */
  balance(records: number, bytes: number, uncommitted: number): void {
    const { maxHeldBytes, maxUncommitted } = this.context.options;
    const fullness = Math.max(
      records / this.ahead.records,
      bytes / maxHeldBytes,
      uncommitted / maxUncommitted,
    );
    if (fullness >= 1 && !this.full) {
      this.full = true;
      this.ahead.full();
    } else if (fullness <= 0.5 && this.full) {
      this.full = false;
      this.ahead.halved();
    }
    this.apply();
  }

  /** Goes on where the pause of the same partition's last processor stands. */
  takeOver(other: PartitionPause): void {
    this.paused = other.paused;
    for (const holder of other.holders) this.hold(holder);
    this.apply();
  }

  /** The partition goes away: nobody is to wait any more. */
  end(): void {
    this.ended = true;
    this.letGo();
  }

  private letGo(): void {
    this.waiting?.resolve();
    this.waiting = undefined;
  }

  private apply(): void {
    const paused = this.full || this.holders.size > 0;
    if (this.ended || paused === this.paused) return;
    this.paused = paused;
    if (paused) this.context.pause(this.partition);
    else this.context.resume(this.partition);
  }
}
