import { systemClock, sleep } from '../../runtime/clock.js';

/** Milliseconds. At most this long takes what must not wait for anything, on a busy machine too. */
export const SOON_MS = 20_000;

/** Milliseconds. Longer than `SOON_MS`: who waits for a fetch or a session of this length to end is caught. */
export const LONG_MS = 60_000;

const POLL_MS = 20;

/** Resolves as soon as `condition` holds; rejects with `what` if it has not within `milliseconds`. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  milliseconds = 100_000,
): Promise<void> {
  const deadline = systemClock.monotonic() + milliseconds;
  while (!(await condition())) {
    if (systemClock.monotonic() > deadline) throw new Error(`Not within ${milliseconds} ms: ${what}`);
    await sleep(systemClock, POLL_MS);
  }
}

/** Settles as `promise` does, or rejects with `what` after `milliseconds`. */
export async function within<T>(what: string, promise: Promise<T>, milliseconds: number): Promise<T> {
  const settled = new AbortController();
  try {
    return await Promise.race([
      promise,
      sleep(systemClock, milliseconds, settled.signal).then(() => {
        throw new Error(`Not within ${milliseconds} ms: ${what}`);
      }),
    ]);
  } finally {
    settled.abort();
  }
}
