import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Calls `attempt` until it resolves, and resolves to its value. Rejects with the last failure as cause when `timeoutMs`
 * is over, or at once when `giveUp` settles first.
 */
export async function waitFor<Value>(
  attempt: () => Promise<Value>,
  options: { what: string; timeoutMs: number; everyMs?: number; giveUp?: Promise<never> },
): Promise<Value> {
  const { what, timeoutMs, everyMs = 50, giveUp } = options;
  const deadline = performance.now() + timeoutMs;
  let over = false;
  const poll = async () => {
    for (;;) {
      try {
        return await attempt();
      } catch (cause) {
        if (over || performance.now() > deadline) {
          const reason = cause instanceof Error ? cause.message : String(cause);
          throw new Error(`${what} within ${timeoutMs / 1000} s (${reason})`, { cause });
        }
      }
      await sleep(everyMs);
    }
  };
  try {
    return await Promise.race(giveUp ? [giveUp, poll()] : [poll()]);
  } finally {
    over = true; // the loser of the race stops polling
  }
}

/** Rejects if `promise` has not settled after `timeoutMs`; the promise itself goes on. */
export async function within<Value>(
  timeoutMs: number,
  what: string,
  promise: Promise<Value>,
): Promise<Value> {
  const timer = new AbortController();
  const expiry = sleep(timeoutMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`${what}: no answer within ${timeoutMs / 1000} s`);
  });
  expiry.catch(() => undefined); // aborted when the promise wins
  try {
    return await Promise.race([promise, expiry]);
  } finally {
    timer.abort();
  }
}
