import type { GroupBounds } from './engine-context.js';

/** A group goes on at least until its handlers took so many times as long as its begin and commit. */
const HANDLERS_PER_GROUP = 10;
const FIRST_SOLO = 64;
const LAST_SOLO = 8_192;
/** Weight of the newest value in a moving average. */
const WEIGHT = 1 / 4;
/** Milliseconds that a group waits for a handler, at the least and at the most, while others could go on without it. */
const LEAST_PATIENCE = 250;
const MOST_PATIENCE = 30_000;

/** How a group went; times in milliseconds. */
export interface GroupTimes {
  /** Handlers that ran, and how many of them one after the other. */
  readonly runs: number;
  readonly depth: number;
  /** Until the first could run, until all were done, and what the commit took. */
  readonly begin: number;
  readonly handlers: number;
  readonly commit: number;
}

/** How large the groups of a partition are and how long they take, going by those before. */
export class GroupPace {
  /** Moving averages in milliseconds: of a handler's run, and of what a group costs besides. */
  private handlerMillis = 0;
  private beginMillis = 0;
  private commitMillis = 0;
  /** Groups still to be run one by one after transactions got into each other's way, and how many the next time. */
  private solo = 0;
  private nextSolo = FIRST_SOLO;
  private patienceMillis = LEAST_PATIENCE;

  constructor(private readonly bounds: GroupBounds) {}

  /** Room of the next group: records in all, and of one sequence. Fewer where handlers are slow. */
  next(): { readonly records: number; readonly each: number } {
    if (this.solo > 0) {
      this.solo--;
      return { records: 1, each: 1 };
    }
    const { maxRecords, concurrent } = this.bounds;
    // What is claimed and does not run before the limit is given back: rows written and deleted for nothing. A beginning
    // that took long once must not make groups so small that nothing is learned of later ones.
    const limit = this.limitMillis;
    const forHandlers = Math.max(limit - this.beginMillis, limit / 2);
    const oneAfterTheOther = Math.floor(forHandlers / Math.max(this.handlerMillis, 0.001));
    const fitting = Math.max(1, Math.min(maxRecords, oneAfterTheOther));
    return { records: concurrent ? maxRecords : fitting, each: fitting };
  }

  /** After how long a group takes no further record. */
  get limitMillis(): number {
    const { maxMillis, stretchedMillis } = this.bounds;
    return Math.max(
      maxMillis,
      Math.min(stretchedMillis, (this.beginMillis + this.commitMillis) * HANDLERS_PER_GROUP),
    );
  }

  /** After how long a group goes on without a handler that keeps other sequences waiting. */
  get patience(): number {
    return this.patienceMillis;
  }

  /**
   * A group deadlocked with another. The longer transactions hold their rows, the likelier that is, and each time costs
   * Postgres's `deadlock_timeout`: for a while records run one by one, for longer each time.
   */
  keepApart(): void {
    this.solo = this.nextSolo;
    this.nextSolo = Math.min(this.nextSolo * 2, LAST_SOLO);
  }

  /**
   * A group went on without some of its handlers. Where handlers take so long by nature, most of the work would be done
   * for nothing: the next group waits twice as long.
   */
  lostPatience(): void {
    this.patienceMillis = Math.min(this.patienceMillis * 2, MOST_PATIENCE);
  }

  /** Groups of one count too: where they did not, a busy server's first groups would have all later ones hold one. */
  note({ runs, depth, begin, handlers, commit }: GroupTimes): void {
    const sample = Math.max(0, handlers - begin) / Math.max(depth, 1);
    this.handlerMillis += (sample - this.handlerMillis) * WEIGHT;
    if (runs > 0) {
      this.beginMillis += (begin - this.beginMillis) * WEIGHT;
      this.commitMillis += (commit - this.commitMillis) * WEIGHT;
    }
    const lasting = Math.max(LEAST_PATIENCE, handlers * 4);
    if (lasting < this.patienceMillis) this.patienceMillis += (lasting - this.patienceMillis) * (WEIGHT / 16);
  }
}
