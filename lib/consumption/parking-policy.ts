import { CENTURY } from '../runtime/century.js';

/** How parked records are tried again, and how many there may be. Times in milliseconds. */
export interface ParkingPolicy {
  /** Until the first try of a parked record. `Infinity` (with `max`): only an operator has it tried. */
  readonly retryAfter: number;
  /** What the wait grows by with each try. */
  readonly factor: number;
  readonly max: number;
  /** Tries after which the head of a sequence is held for an operator. */
  readonly attempts: number;
  /** Parked sequences of a handler, in all partitions. */
  readonly maxSequences: number;
  /** Records of a sequence. */
  readonly maxLetters: number;
}

export const DEFAULT_PARKING: ParkingPolicy = {
  retryAfter: 30_000,
  factor: 2,
  max: 3_600_000,
  attempts: 10,
  maxSequences: 10_000,
  maxLetters: 1_000,
};

/** Milliseconds until a parked record is tried again after `retries` tries; `undefined`: it is held for an operator. */
export function parkingDelay(policy: ParkingPolicy, retries: number): number | undefined {
  if (retries >= policy.attempts) return undefined;
  // The exponent is bounded: 2 ** 2000 is Infinity.
  const delay = policy.retryAfter * policy.factor ** Math.min(retries, 64);
  return Math.round(Math.min(policy.max, delay, CENTURY));
}
