/**
 * Waits until `condition` holds: until it returns something other than `false` and `undefined`, and does not throw.
 * Resolves with what it returned; fails with the condition's text after `timeout` milliseconds.
 */
export async function eventually<T>(condition: () => Promise<T> | T, timeout = 100_000): Promise<T> {
  const deadline = performance.now() + timeout;
  for (;;) {
    let failure: unknown;
    try {
      const result = await condition();
      if (result !== false && result !== undefined) return result;
    } catch (error) {
      failure = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`Not within ${timeout} ms: ${String(condition)}`, { cause: failure });
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
