<<<<<<< HEAD
/** Waits until `condition` holds or stops throwing; at most `timeout` milliseconds. */
export async function eventually<T>(condition: () => Promise<T> | T, timeout = 10_000): Promise<T> {
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
      throw new Error(`Never came true: ${String(condition)}`, { cause: failure });
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
=======
/** Resolves once `condition` holds; fails with its text after `milliseconds`. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  milliseconds = 20_000,
): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`Not within ${milliseconds} ms: ${String(condition)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
>>>>>>> client
  }
}
