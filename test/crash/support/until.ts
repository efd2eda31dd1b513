import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds. Nothing that works takes as long, on a busy machine either. */
export const PATIENCE = 100_000;

/** Resolves as soon as `condition` holds; the error says what was waited for, and `describe` how far it came. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeout = PATIENCE,
  describe: () => string | Promise<string> = () => '',
): Promise<void> {
  const deadline = Date.now() + timeout;
  while (!(await condition())) {
    if (Date.now() > deadline)
      throw new Error(`Waited ${timeout} ms in vain for ${what}. ${await describe()}`);
    await sleep(50);
  }
}
