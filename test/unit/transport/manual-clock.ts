import type { Clock, Timer } from '../../../lib/runtime/clock.js';

interface Scheduled {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock that stands still until it is told how far to go. */
export class ManualClock implements Clock {
  private time = 1_700_000_000_000;
  private ids = 0;
  private readonly timers = new Set<Scheduled>();

  now(): number {
    return this.time;
  }

  monotonic(): number {
    return this.time;
  }

  setBackgroundTimeout(callback: () => void, milliseconds: number): Timer {
    return this.setTimeout(callback, milliseconds);
  }

  setTimeout(callback: () => void, milliseconds: number): Timer {
    const timer: Scheduled = { at: this.time + milliseconds, callback };
    this.timers.add(timer);
    return timer;
  }

  clearTimeout(timer: Timer | undefined): void {
    this.timers.delete(timer as Scheduled);
  }

  setImmediate(callback: () => void): void {
    setImmediate(callback);
  }

  random(): number {
    return 0.5;
  }

  uuid(): string {
    return `id-${++this.ids}`;
  }

  get pendingTimers(): number {
    return this.timers.size;
  }

  /** Runs what is due by then, in order. */
  advance(milliseconds: number): void {
    const end = this.time + milliseconds;
    for (;;) {
      const due = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due);
      this.time = Math.max(this.time, due.at);
      due.callback();
    }
    this.time = end;
  }
}
