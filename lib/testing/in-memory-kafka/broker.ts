import type { Clock, Timer } from '../../runtime/clock.js';

/** Cancels a broker's timer. Harmless once it has run. */
export type CancelTimer = () => void;

/**
 * What the parts of one in-memory cluster share: its clock, and whether it answers at all. Everything that happens
 * at the broker (a request that arrives, an answer that leaves, a timeout that fires) passes through `perform`, so
 * that a paused broker does nothing and afterwards does it all, in the order in which it came.
 */
export class Broker {
  readonly #held: { readonly work: () => void; readonly clock: Clock }[] = [];
  #paused = false;
  #rebalances = 0;

  constructor(
    readonly clock: Clock,
    /** Milliseconds a client waits for an answer. */
    readonly requestTimeout: number,
  ) {}

  /** @param clock of whom the work belongs to, if it is done at a client. */
  perform(work: () => void, clock = this.clock): void {
    if (this.#paused || this.#held.length > 0) this.#held.push({ work, clock });
    else work();
  }

  /** Runs `work` at the broker after `milliseconds`; later if the broker is paused by then. */
  after(milliseconds: number, work: () => void): CancelTimer {
    let cancelled = false;
    const timer: Timer = this.clock.setTimeout(
      () => this.perform(() => (cancelled ? undefined : work())),
      milliseconds,
    );
    return () => {
      cancelled = true;
      this.clock.clearTimeout(timer);
    };
  }

  /** Grows over all consumers of the cluster, so that none sees a number twice. */
  nextRebalanceId(): number {
    return ++this.#rebalances;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#catchUp();
  }

  /** One held piece of work per turn: what others do in between queues up behind it. */
  #catchUp(): void {
    this.clock.setImmediate(() => {
      if (this.#paused) return;
      const held = this.#held.shift();
      if (held?.clock === this.clock) held.work();
      else held?.clock.setImmediate(held.work);
      if (this.#held.length > 0) this.#catchUp();
    });
  }
}
