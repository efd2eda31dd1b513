import { describeError } from '../errors/describe-error.js';
import type { Log } from '../runtime/log.js';
import type { Attempt } from './attempt.js';
import type { OffsetTracker } from './offset-tracker.js';

/** Deliveries of a partition that are done, but for what the broker has yet to acknowledge. */
export class Settlements {
  private readonly open = new Set<Promise<void>>();
  /** Whose replies still come, after the handler has given way to the next record. */
  private readonly streams = new Set<Attempt>();
  private readonly cut = new WeakSet<Attempt>();

  /**
   * @param onDone called for each delivery whose replies, outbox and stream are all acknowledged.
   * @param onLetter called for each that was parked, when it is done or parked again.
   */
  constructor(
    private readonly tracker: OffsetTracker,
    private readonly log: Log,
    private readonly onDone: () => void,
    private readonly onLetter: () => void,
  ) {}

  /** The delivery is done; its offset moves when its replies and what follows the commit are acknowledged. */
  settle(attempt: Attempt, afterwards: Promise<void> | undefined): void {
    attempt.delivery.settled = true;
    if (attempt.delivery.letter) this.onLetter();
    attempt.release();
    if (!afterwards && attempt.published.length === 0 && !attempt.streaming) return this.complete(attempt);
    if (attempt.streaming) this.streams.add(attempt);
    const settlement = this.acknowledged(attempt, afterwards).then((acknowledged) => {
      this.open.delete(settlement);
      this.streams.delete(attempt);
      if (acknowledged) this.complete(attempt);
    });
    this.open.add(settlement);
  }

  /** Resolves when nothing is open any more. */
  async idle(): Promise<void> {
    await Promise.all(this.open);
  }

  /** Ends the streams whose records somebody else begins anew. Those whose offset was let go before go on. */
  abortStreams(reason: unknown): void {
    for (const attempt of this.streams) {
      this.cut.add(attempt);
      attempt.abort(reason);
    }
    this.streams.clear();
  }

  private complete({ delivery }: Attempt): void {
    // The offset of a letter was let go when it was parked.
    if (!delivery.letter) this.tracker.complete(delivery.record.offset);
    this.onDone();
  }

  private async acknowledged(attempt: Attempt, afterwards: Promise<void> | undefined): Promise<boolean> {
    try {
      await afterwards;
    } catch (error) {
      this.log.debug(`offset ${attempt.delivery.record.offset} stays open: ${describeError(error)}`);
      return false;
    }
    await attempt.streaming;
    if (this.cut.has(attempt)) return false;
    return (await Promise.all(attempt.published)).every(Boolean);
  }
}
