/** Resolves with the first value of `read` that is not falsy; fails with `what` after `milliseconds`. */
export async function waitUntil<T>(
  what: string,
  read: () => T | Promise<T>,
  milliseconds = 30_000,
): Promise<NonNullable<T>> {
  const end = performance.now() + milliseconds;
  for (;;) {
    const value = await read();
    if (value) return value as NonNullable<T>;
    if (performance.now() > end) throw new Error(`Waited ${milliseconds} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
