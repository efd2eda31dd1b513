import { describeError } from '../errors/describe-error.js';
import type { Log } from '../runtime/log.js';
import type { Attempt } from './attempt.js';
import type { OffsetTracker } from './offset-tracker.js';

/** Deliveries of a partition that are done, but for what the broker has yet to acknowledge. */
export class Settlements {
  private readonly open = new Set<Promise<void>>();

  /** @param onDone called for each delivery whose replies, outbox and stream are all acknowledged. */
  constructor(
    private readonly tracker: OffsetTracker,
    private readonly log: Log,
    private readonly onDone: () => void,
  ) {}

  /** The delivery is done; its offset moves when its replies and what follows the commit are acknowledged. */
  settle(attempt: Attempt, afterwards: Promise<void> | undefined): void {
    attempt.delivery.settled = true;
    attempt.release();
    if (!afterwards && attempt.published.length === 0 && !attempt.streaming) return this.complete(attempt);
    const settlement = this.acknowledged(attempt, afterwards).then((acknowledged) => {
      this.open.delete(settlement);
      if (acknowledged) this.complete(attempt);
    });
    this.open.add(settlement);
  }

  /** Resolves when nothing is open any more. */
  async idle(): Promise<void> {
    await Promise.all(this.open);
  }

  private complete({ delivery }: Attempt): void {
    this.tracker.complete(delivery.record.offset);
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
    return (await Promise.all(attempt.published)).every(Boolean);
  }
}
