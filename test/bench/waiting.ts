import { setTimeout as sleep } from 'node:timers/promises';

export { within } from '../../sample/servers/wait-for.js';

/** Resolves as soon as `condition` holds; the error says what was waited for. */
export async function until(
  what: string,
  condition: () => Promise<boolean>,
  timeoutMs: number,
  everyMs = 50,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Waited ${timeoutMs / 1000} s in vain for ${what}`);
    await sleep(everyMs);
  }
}
