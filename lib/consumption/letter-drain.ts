import type { AssignedPartition } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import { partitionName, type KafkaRecord } from '../messages/record.js';
import type { Timer } from '../runtime/clock.js';
import { newDelivery, type Delivery } from './attempt.js';
import type { EngineContext } from './engine-context.js';
import type { DueLetter } from './parking.js';
import { PROBE_BACKOFF, retryDelay } from './retry-policy.js';

/** Longest time between two looks at what is parked: operators change it from other processes. */
const POLL = 1_000;
const LEAST_WAIT = 10;

/** What the drain needs of the partition that it belongs to. */
export interface LetterDrainHost {
  readonly isRunning: boolean;
  readonly signal: AbortSignal;
  /** Has a letter run before the other records of its sequence. */
  pushFront(record: KafkaRecord, deliveries: readonly Delivery[]): void;
}

/**
 * Has the parked records of a partition tried again when they are due, while anything is parked. It looks, lines up what
 * it finds, and looks again when all of that has left the line. In between other records have their turn.
 */
export class LetterDrain {
  private inLine = 0;
  private looking = false;
  private lookAgain = false;
  private failures = 0;
  private timer: Timer | undefined;
  private warned = false;

  constructor(
    private readonly partition: AssignedPartition,
    private readonly context: EngineContext,
    private readonly host: LetterDrainHost,
  ) {
    host.signal.addEventListener('abort', () => this.clearTimer(), { once: true });
  }

  /** Something is parked in this partition. */
  wake(): void {
    if (!this.host.isRunning || !this.context.parking) return;
    this.clearTimer();
    if (this.looking || this.inLine > 0) {
      this.lookAgain = true;
      return;
    }
    this.looking = true;
    void this.look().then((wait) => {
      this.looking = false;
      if (this.inLine > 0 || !this.host.isRunning) return;
      if (this.lookAgain) this.wake();
      else if (wait !== undefined) this.timer = this.context.clock.setTimeout(() => this.wake(), wait);
    });
  }

  /** A letter has left the line. */
  left(): void {
    this.inLine--;
    if (this.inLine === 0) this.wake();
  }

  /** Resolves with the milliseconds until the next look; never rejects. */
  private async look(): Promise<number | undefined> {
    const { gate, parking, groupId, options, clock, log } = this.context;
    try {
      if (!gate.isOpen) await gate.opened(this.host.signal);
      this.lookAgain = false;
      // The records of a partition wait for each letter of it, if they have one order among them.
      const limit = options.ordering === 'partition' ? 1 : options.concurrency;
      const { letters, next } = await parking!.due(groupId, this.partition, limit);
      for (const letter of letters) await this.lineUp(letter);
      this.failures = 0;
      return next === undefined ? undefined : Math.min(Math.max(next, LEAST_WAIT), POLL);
    } catch (error) {
      log.debug(`${partitionName(this.partition)}: parked records wait: ${describeError(error)}`);
      return Math.max(LEAST_WAIT, retryDelay(PROBE_BACKOFF, ++this.failures, clock));
    }
  }

  private async lineUp({ letter, record, topicId, failures, firstFailure }: DueLetter): Promise<void> {
    const routes = await this.context.route(record);
    if (!this.host.isRunning) return;
    const own = routes.filter(({ names }) => names?.includes(letter.handler));
    if (own.length === 0) return this.warnUnknown(letter.handler);
    const partition = { ...this.partition, topicId };
    const deliveries = own.map((route): Delivery => {
      const delivery = newDelivery(route, record, partition, failures > 0);
      return Object.assign(delivery, { letter, failures, firstFailure, alone: true });
    });
    this.inLine += deliveries.length;
    this.host.pushFront(record, deliveries);
  }

  private warnUnknown(handler: string): void {
    if (!this.warned) {
      this.context.log.warn(
        `Records of ${partitionName(this.partition)} are parked for ${handler}, which does not handle them in this ` +
          'application: they wait. Bring the handler back under that name, or drop them by DurableLedger.dropParked().',
      );
    }
    this.warned = true;
  }

  private clearTimer(): void {
    this.context.clock.clearTimeout(this.timer);
    this.timer = undefined;
  }
}
