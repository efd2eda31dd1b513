import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves as soon as `condition` holds; the error says what was waited for, and `describe` how far it came. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeout = 30_000,
  describe: () => string | Promise<string> = () => '',
): Promise<void> {
  const deadline = Date.now() + timeout;
  while (!(await condition())) {
    if (Date.now() > deadline)
      throw new Error(`Waited ${timeout} ms in vain for ${what}. ${await describe()}`);
    await sleep(50);
  }
}
