import { deferred, type Deferred } from '../runtime/deferred.js';
import { sleep, type Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import { operatorEvents } from '../runtime/operator-events.js';
import { PROBE_BACKOFF, retryDelay } from './retry-policy.js';

/**
 * Stops the work of all partitions while something that all of them need is down, and opens again by itself. No
 * attempt is counted and nothing is given up in the meantime; the member stays in its group.
 */
export class Gate {
  private closed: Deferred<void> | undefined;
  private readonly stopped = new AbortController();

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly group: string,
    private readonly onClosed: () => void,
  ) {}

  get isOpen(): boolean {
    return this.closed === undefined;
  }

  /** Resolves at once while the gate is open, else when it opens or `signal` aborts. */
  opened(signal?: AbortSignal): Promise<void> {
    const { closed } = this;
    if (!closed || signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        signal?.removeEventListener('abort', done);
        resolve();
      };
      signal?.addEventListener('abort', done, { once: true });
      void closed.promise.then(done);
    });
  }

  /** Closes until `probe` resolves. A gate that is closed already stays so; its first probe decides. */
  close(reason: string, probe: () => Promise<void>): void {
    if (this.closed || this.stopped.signal.aborted) return;
    this.closed = deferred();
    this.onClosed();
    this.log.warn(`Work is held: ${reason}. It goes on by itself; no attempt is counted meanwhile.`);
    const closed = operatorEvents['gate-closed'];
    if (closed.hasSubscribers) closed.publish({ group: this.group, reason });
    void this.reopen(probe);
  }

  /** Lets everybody through for good, so that they can see that all is over. */
  stop(): void {
    this.stopped.abort();
    this.open();
  }

  private async reopen(probe: () => Promise<void>): Promise<void> {
    const since = this.clock.monotonic();
    for (let round = 1; !this.stopped.signal.aborted; round++) {
      await sleep(this.clock, retryDelay(PROBE_BACKOFF, round, this.clock), this.stopped.signal);
      try {
        await probe();
      } catch {
        continue;
      }
      const duration = this.clock.monotonic() - since;
      this.log.log(`Work goes on after ${(duration / 1000).toFixed(1)} s`);
      const opened = operatorEvents['gate-opened'];
      if (opened.hasSubscribers) opened.publish({ group: this.group, duration });
      return this.open();
    }
  }

  private open(): void {
    const closed = this.closed;
    this.closed = undefined;
    closed?.resolve();
  }
}
