import type { Clock } from '../runtime/clock.js';

/** Delays in milliseconds. */
export interface RetryPolicy {
  /** Runs in all that may end in a failure. */
  readonly attempts: number;
  readonly initial: number;
  readonly factor: number;
  readonly max: number;
  /** Full jitter: a delay is drawn from [0, what the factor says]. */
  readonly jitter: boolean;
  /** No attempt begins later than this after the first failure. Absent or `Infinity`: there is no such time. */
  readonly deadline?: number | undefined;
}

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 10,
  initial: 100,
  factor: 2,
  max: 30_000,
  jitter: true,
  deadline: Infinity,
};

/** How infrastructure is probed: soon, then less often; it counts no attempts. */
export const PROBE_BACKOFF: RetryPolicy = {
  attempts: Infinity,
  initial: 50,
  factor: 2,
  max: 2_000,
  jitter: true,
};

/** Milliseconds to wait after the `failures`th failure (1 = the first). */
export function retryDelay(policy: RetryPolicy, failures: number, clock: Clock): number {
  // The exponent is bounded: 2 ** 2000 is Infinity, and Infinity * 0 is not a delay.
  const exponent = Math.min(failures - 1, 64);
  const ceiling = Math.min(policy.max, policy.initial * policy.factor ** exponent);
  return Math.round(policy.jitter ? ceiling * clock.random() : ceiling);
}

/** A delay that does not outlast what is `left` until a deadline; once that is over it has nothing to say. */
export function delayWithin(left: number, delay: number): number {
  return left > 0 ? Math.min(delay, left) : delay;
}
