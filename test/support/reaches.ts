/**
 * Waits until `measure` returns `wanted`, for as long as that takes: fails once it has returned the same for `patience`
 * milliseconds. How long much work lasts depends on the machine; that it goes on does not.
 */
export async function reaches<T>(
  wanted: T,
  measure: () => Promise<T> | T,
  patience = 100_000,
): Promise<void> {
  let last: T | undefined;
  let since = performance.now();
  for (;;) {
    const now = await measure();
    if (now === wanted) return;
    if (now !== last) {
      last = now;
      since = performance.now();
    } else if (performance.now() - since > patience) {
      throw new Error(`${String(now)} and not ${String(wanted)} for ${patience} ms: ${String(measure)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
