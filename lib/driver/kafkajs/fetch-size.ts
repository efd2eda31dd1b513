import type { Clock } from '../../runtime/clock.js';

const FIRST = 128 * 1024;
const LEAST = 64 * 1024;
/** Milliseconds that an answer lasts at the least and at the most, where the partition has as much. */
const SHORT = 100;
const LONG = 1_000;

/**
 * How many bytes of a partition are worth asking for at once. Megabytes for handlers that take their time over them would
 * only lie in memory, and little for quick ones would have them wait for the broker.
 */
export class FetchSize {
  private size: number;
  private came = 0;
  private cameAt = 0;

  /** @param most bytes */
  constructor(
    private readonly most: number,
    private readonly clock: Clock,
  ) {
    this.size = Math.min(FIRST, most);
  }

  get bytes(): number {
    return this.size;
  }

  /** An answer brought so many bytes of whole batches. None, although there is one: it may be larger than what was asked for. */
  fetched(bytes: number): void {
    this.came = bytes;
    this.cameAt = this.clock.monotonic();
    if (bytes === 0) this.grow();
  }

  /** All that the last answer brought has been handed over. */
  handedOver(): void {
    const lasted = this.clock.monotonic() - this.cameAt;
    if (lasted > LONG) this.size = Math.max(Math.floor(this.size / 2), Math.min(LEAST, this.most));
    // Of one that held all there was, nobody knows how long more would have lasted.
    else if (lasted < SHORT && this.came * 2 > this.size) this.grow();
  }

  private grow(): void {
    this.size = Math.min(this.size * 2, this.most);
  }
}
