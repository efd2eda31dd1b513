import { isDate } from 'node:util/types';
import type { Clock } from '../runtime/clock.js';

/** Longest time that a timer can be set for. */
const LONGEST = 2 ** 31 - 1;

/**
 * Milliseconds after which a failure wants the record to be tried again: the error's `retryAfter`, a number of
 * milliseconds or a `Date`. `undefined` if it says nothing that makes sense. Safe on any thrown value.
 */
export function retryAfter(error: unknown, clock: Clock): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  let wanted: unknown;
  try {
    wanted = (error as { retryAfter?: unknown }).retryAfter;
  } catch {
    return undefined;
  }
  const delay = isDate(wanted) ? wanted.getTime() - clock.now() : wanted;
  if (typeof delay !== 'number' || Number.isNaN(delay)) return undefined;
  if (delay < 0 && !isDate(wanted)) return undefined;
  return Math.min(Math.max(Math.ceil(delay), 0), LONGEST);
}
