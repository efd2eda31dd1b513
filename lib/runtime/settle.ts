/** Resolves when `work` has settled: with what it was rejected with, or `undefined`. */
export async function settle(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}
