import { deferred, type Deferred } from '../runtime/deferred.js';
import { sleep, type Clock, type Timer } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import { operatorEvents } from '../runtime/operator-events.js';
import { PROBE_BACKOFF, retryDelay } from './retry-policy.js';

/** `trial`: what was down answers again, and one record is tried before all go on. */
export type GateState = 'open' | 'closed' | 'trial';

/** The run of one record through a gate that is not open yet. */
export interface Trial {
  /** It came through; of no effect if the gate was closed meanwhile. */
  end(): void;
}

/** Milliseconds after which all go on although the trial has not ended: its handler may take as long as it likes. */
const TRIAL_PATIENCE = 5_000;

/**
 * Stops the work of all partitions while something that all of them need is down, and opens again by itself: for one
 * record first. No attempt is counted and nothing is given up in the meantime; the member stays in its group.
 *
 * ```
 * open ──close──► closed ──probe resolves──► trial ──it came through, or takes long──► open
 *                    ▲ └─nobody waits──────────│───────────────────────────────────────►┘
 *                    └──────────close──────────┘
 * ```
 */
export class Gate {
  private current: GateState = 'open';
  /** Settles at the next change. */
  private change: Deferred<void> = deferred();
  private waiting = 0;
  private trialTaken = false;
  private trialTimer: Timer | undefined;
  private closedAt = 0;
  private rounds = 0;
  private suspected = false;
  private readonly stopped = new AbortController();

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly group: string,
    private readonly onClosed: () => void,
  ) {}

  get state(): GateState {
    return this.current;
  }

  get isOpen(): boolean {
    return this.current === 'open';
  }

  /** Resolves at once while there is a way through, else when there is one or `signal` aborts. */
  async opened(signal?: AbortSignal): Promise<void> {
    while (this.isShut && !signal?.aborted) {
      this.waiting++;
      await this.changed(signal);
      this.waiting--;
    }
  }

  /** The one way through in state `trial`; `undefined` if there is none. */
  trial(): Trial | undefined {
    if (this.current !== 'trial' || this.trialTaken) return undefined;
    this.trialTaken = true;
    const { rounds } = this;
    return {
      end: () => {
        if (this.current === 'trial' && this.rounds === rounds) this.open();
      },
    };
  }

  /** Closes until `probe` resolves. A gate that is closed already stays so; its first probe decides. */
  close(reason: string, probe: () => Promise<void>): void {
    if (this.current === 'closed' || this.stopped.signal.aborted) return;
    if (this.current === 'open') {
      this.rounds = 0;
      this.closedAt = this.clock.monotonic();
      this.onClosed();
      this.log.warn(`Work is held: ${reason}. It goes on by itself; no attempt is counted meanwhile.`);
      const closed = operatorEvents['gate-closed'];
      if (closed.hasSubscribers) closed.publish({ group: this.group, reason });
    }
    this.to('closed');
    void this.reopen(probe);
  }

  /** Closes if `probe` rejects: for trouble that may be of one topic only. One suspicion at a time. */
  async suspect(reason: string, probe: () => Promise<void>): Promise<void> {
    if (this.suspected || this.current === 'closed' || this.stopped.signal.aborted) return;
    this.suspected = true;
    try {
      await probe();
    } catch {
      this.close(reason, probe);
    } finally {
      this.suspected = false;
    }
  }

  /** Lets everybody through for good, so that they can see that all is over. */
  stop(): void {
    this.stopped.abort();
    this.to('open');
  }

  private get isShut(): boolean {
    return this.current === 'closed' || (this.current === 'trial' && this.trialTaken);
  }

  private changed(signal: AbortSignal | undefined): Promise<void> {
    const { change } = this;
    return new Promise((resolve) => {
      const done = () => {
        signal?.removeEventListener('abort', done);
        resolve();
      };
      signal?.addEventListener('abort', done, { once: true });
      void change.promise.then(done);
    });
  }

  private async reopen(probe: () => Promise<void>): Promise<void> {
    while (!this.stopped.signal.aborted) {
      await sleep(this.clock, retryDelay(PROBE_BACKOFF, ++this.rounds, this.clock), this.stopped.signal);
      try {
        await probe();
      } catch {
        continue;
      }
      if (this.stopped.signal.aborted) return;
      if (this.waiting === 0) return this.open();
      this.trialTaken = false;
      this.to('trial');
      this.trialTimer = this.clock.setTimeout(() => this.open(), TRIAL_PATIENCE);
      return;
    }
  }

  private open(): void {
    const duration = this.clock.monotonic() - this.closedAt;
    this.log.log(`Work goes on after ${(duration / 1000).toFixed(1)} s`);
    const opened = operatorEvents['gate-opened'];
    if (opened.hasSubscribers) opened.publish({ group: this.group, duration });
    this.to('open');
  }

  private to(state: GateState): void {
    this.clock.clearTimeout(this.trialTimer);
    this.current = state;
    const { change } = this;
    this.change = deferred();
    change.resolve();
  }
}
