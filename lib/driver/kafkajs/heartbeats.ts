import type { Clock, Timer } from '../../runtime/clock.js';
import { isStale, text } from './errors.js';

export interface HeartbeatOptions {
  readonly sessionTimeout: number;
  readonly heartbeatInterval: number;
}

export interface HeartbeatHooks {
  /** Sends one; rejects if the coordinator did not take it. */
  beat(): Promise<void>;
  /** By our own clock the session is over: the coordinator may have given the member up. */
  expired(): void;
  /** Whether the coordinator can be reached is otherwise than before. */
  reachable(isReachable: boolean, problem?: string): void;
}

const RETRY = 500;

/**
 * The heartbeats of one generation, on a timer of their own. Each generation has its own: one that hangs must not keep
 * its successor from its heartbeats.
 */
export class Heartbeats {
  private timer: Timer | undefined;
  private underWay = false;
  private reachable = true;
  private stopped = false;

  constructor(
    private readonly options: HeartbeatOptions,
    /** Monotonic time at which the last request was sent that the coordinator has answered. */
    private lastContact: number,
    private readonly hooks: HeartbeatHooks,
    private readonly clock: Clock,
  ) {}

  start(): void {
    this.schedule(this.options.heartbeatInterval);
  }

  stop(): void {
    this.stopped = true;
    this.clock.clearTimeout(this.timer);
  }

  /** A heartbeat that was sent at `sentAt` was taken. */
  taken(sentAt: number): void {
    this.lastContact = Math.max(this.lastContact, sentAt);
  }

  /** Somebody else has told that the coordinator can be reached. */
  assumeReachable(): void {
    this.reachable = true;
  }

  get isSessionOver(): boolean {
    return this.clock.monotonic() - this.lastContact > this.options.sessionTimeout;
  }

  private schedule(wait: number): void {
    const sessionLeft = this.lastContact + this.options.sessionTimeout - this.clock.monotonic();
    this.clock.clearTimeout(this.timer);
    if (this.stopped) return;
    this.timer = this.clock.setTimeout(() => void this.tick(), Math.max(1, Math.min(wait, sessionLeft + 1)));
  }

  private async tick(): Promise<void> {
    if (this.isSessionOver) return this.hooks.expired();
    const { heartbeatInterval } = this.options;
    this.schedule(heartbeatInterval);
    if (this.underWay) return;
    this.underWay = true;
    try {
      await this.hooks.beat();
      this.tell(true);
    } catch (error) {
      if (isStale(error)) return;
      this.tell(false, text(error));
      this.schedule(Math.min(RETRY, heartbeatInterval));
    } finally {
      this.underWay = false;
    }
  }

  private tell(isReachable: boolean, problem?: string): void {
    if (this.stopped || isReachable === this.reachable) return;
    this.reachable = isReachable;
    this.hooks.reachable(isReachable, problem);
  }
}
