import { randomBytes } from 'node:crypto';

/** A pending timer; only good for `Clock.clearTimeout`. */
export type Timer = unknown;

/**
 * The one door to time, timers, randomness and ids. Everything in this library takes a clock and never the
 * globals, so that a seeded scheduler can replay any interleaving.
 */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** Monotonic milliseconds; only differences mean anything. */
  monotonic(): number;
  /** Runs `callback` once after `milliseconds`, at most 24 days. */
  setTimeout(callback: () => void, milliseconds: number): Timer;
  clearTimeout(timer: Timer | undefined): void;
  /** As `setTimeout`, for upkeep: a timer that keeps no process alive. */
  setBackgroundTimeout(callback: () => void, milliseconds: number): Timer;
  /** Runs `callback` after the current event-loop turn. */
  setImmediate(callback: () => void): void;
  /** In [0, 1). */
  random(): number;
  /** A fresh UUIDv7 (time-ordered), lower case. */
  uuid(): string;
}

/** Node runs what is to wait for longer at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** The real clock of this process. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (callback, milliseconds) => setTimeout(callback, Math.min(milliseconds, LONGEST_TIMER)),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
  setBackgroundTimeout: (callback, milliseconds) =>
    setTimeout(callback, Math.min(milliseconds, LONGEST_TIMER)).unref(),
  setImmediate: (callback) => void setImmediate(callback),
  random: () => Math.random(),
  uuid: () => uuidv7(Date.now(), randomPool()),
};

/** ISO 8601 in UTC, of milliseconds since the epoch. */
export function isoTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

/** Resolves after `milliseconds`, or at once when `signal` aborts. */
export function sleep(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clock.clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Whether `work` settles within `milliseconds`. Rejects if it does. */
export function settlesWithin(clock: Clock, work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  // Once for each group of records: an AbortController costs more than all of this, and its abort as much again.
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => resolve(false), milliseconds);
    work.then(
      () => {
        clock.clearTimeout(timer);
        resolve(true);
      },
      (error: unknown) => {
        clock.clearTimeout(timer);
        reject(error as Error);
      },
    );
  });
}

/** Lays a UUIDv7 (RFC 9562 §5.7) out of a time in milliseconds and ten random bytes. */
export function uuidv7(milliseconds: number, random: Uint8Array): string {
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeUIntBE(milliseconds, 0, 6);
  bytes.set(random.subarray(0, 10), 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

// One call into the kernel yields many ids: per id it would cost more than the rest of a send.
const POOL_BYTES = 4096;
let pool = Buffer.alloc(0);

function randomPool(): Uint8Array {
  if (pool.length < 10) pool = randomBytes(POOL_BYTES);
  const bytes = pool.subarray(0, 10);
  pool = pool.subarray(10);
  return bytes;
}
