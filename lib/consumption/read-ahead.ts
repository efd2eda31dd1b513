import type { Clock } from '../runtime/clock.js';

/** Groups of a partition that are held at the least: one at work, one that is next. */
const GROUPS = 2;
const LEAST = 128;
/** Milliseconds that half of what is held lasts, at the least and at the most. */
const SHORT = 50;
const LONG = 200;

/**
 * How many records of a partition are worth holding: enough for its handlers to be busy while more is fetched. What waits
 * beyond that waits in the driver, as bytes: thousands of records that are objects for seconds make the heap grow, and
 * the garbage collector busy.
 */
export class ReadAhead {
  private bound: number;
  private readonly least: number;
  private fullSince = 0;

  /**
   * @param most records, whatever they last
   * @param perGroup records of a group; absent where every record that is held may be worked on at once
   */
  constructor(
    private readonly most: number,
    perGroup: number | undefined,
    private readonly clock: Clock,
  ) {
    this.least = perGroup === undefined ? most : Math.min(most, Math.max(LEAST, perGroup * GROUPS));
    this.bound = this.least;
  }

  get records(): number {
    return this.bound;
  }

  /** That many are held. */
  full(): void {
    this.fullSince = this.clock.monotonic();
  }

  /** Half of them are done. */
  halved(): void {
    const lasted = this.clock.monotonic() - this.fullSince;
    if (lasted < SHORT) this.bound = Math.min(this.bound * 2, this.most);
    else if (lasted > LONG) this.bound = Math.max(Math.floor(this.bound / 2), this.least);
  }
}
