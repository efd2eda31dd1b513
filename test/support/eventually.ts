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
  }
}
