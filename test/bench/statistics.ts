/** What repeated runs of one thing say together. */
export interface Summary {
  readonly median: number;
  readonly least: number;
  readonly most: number;
  /** Distance of the extremes as a share of the median: 0.1 is 10 %. */
  readonly spread: number;
}

/** @throws RangeError without values. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('There is no median of no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** @throws RangeError without values. */
export function summarize(values: readonly number[]): Summary {
  const middle = median(values);
  const least = Math.min(...values);
  const most = Math.max(...values);
  return { median: middle, least, most, spread: middle === 0 ? 0 : (most - least) / Math.abs(middle) };
}

/**
 * The least value that is not below `share` of all values (nearest rank).
 * @throws RangeError without values.
 */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError('There is no percentile of no values');
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}
