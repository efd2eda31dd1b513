import { uuidv7, type Clock } from '../../lib/runtime/clock.js';

interface PendingTimer {
  readonly at: number;
  readonly callback: () => void;
}

/**
 * A clock of virtual time. Whatever may happen next happens in an order that the seed decides, and time jumps to the
 * next timer when nothing is left to do: the same seed and the same calls give the same run.
 */
export class SeededClock implements Clock {
  readonly #turns: (() => void)[] = [];
  readonly #timers = new Set<PendingTimer>();
  readonly #started = Date.UTC(2030, 0, 1);
  #elapsed = 0;
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  now(): number {
    return this.#started + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  setBackgroundTimeout(callback: () => void, milliseconds: number): unknown {
    return this.setTimeout(callback, milliseconds);
  }

  setTimeout(callback: () => void, milliseconds: number): unknown {
    const timer = { at: this.#elapsed + Math.max(0, milliseconds), callback };
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer as PendingTimer);
  }

  setImmediate(callback: () => void): void {
    this.#turns.push(callback);
  }

  /** mulberry32. */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  uuid(): string {
    return uuidv7(
      this.now(),
      Uint8Array.from({ length: 10 }, () => Math.floor(this.random() * 256)),
    );
  }

  /** In [0, below). */
  pick(below: number): number {
    return Math.floor(this.random() * below);
  }

  /** Lets time pass. */
  async run(milliseconds: number): Promise<void> {
    let over = false;
    this.setTimeout(() => (over = true), milliseconds);
    await this.until(() => over, milliseconds);
  }

  /** Goes on until `condition` holds; an error if it does not within `milliseconds` of virtual time. */
  async until(condition: () => boolean, milliseconds = 600_000): Promise<void> {
    const deadline = this.#elapsed + milliseconds;
    await settled();
    while (!condition()) {
      if (this.#elapsed > deadline) throw new Error(`Not within ${milliseconds} virtual ms: ${condition}`);
      this.#step();
      await settled();
    }
  }

  /** Settles as `promise` does, having let happen what it takes. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let over = false;
    const done = () => void (over = true);
    promise.then(done, done);
    await this.until(() => over);
    return promise;
  }

  #step(): void {
    const due = [...this.#timers].filter(({ at }) => at <= this.#elapsed);
    const choices = this.#turns.length + due.length;
    if (choices === 0) {
      if (this.#timers.size === 0) throw new Error('Nothing is left that could happen');
      this.#elapsed = Math.min(...[...this.#timers].map(({ at }) => at));
      return;
    }
    const choice = this.pick(choices);
    if (choice < this.#turns.length) {
      this.#turns.splice(choice, 1)[0]!();
      return;
    }
    const timer = due[choice - this.#turns.length]!;
    this.#timers.delete(timer);
    timer.callback();
  }
}

/** All promises that could go on have gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
