import type { Scheduler } from './scheduler.js';

/** What happened, in order, in words. */
export class Trace {
  readonly lines: string[] = [];

  constructor(private readonly scheduler: Scheduler) {}

  /** @param who a process, `broker`, `store`, or `fault`. */
  add(who: string, what: string): void {
    const seconds = (this.scheduler.elapsed / 1000).toFixed(3).padStart(9);
    this.lines.push(`${seconds} s ${String(this.scheduler.steps).padStart(6)}  ${who.padEnd(9)}${what}`);
  }
}
