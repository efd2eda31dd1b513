import { median, percentile, summarize } from '../../bench/statistics.js';

describe('statistics of the benchmark', () => {
  it('take the middle value, or the mean of the two middle ones', () => {
    expect(median([30, 10, 20])).toBe(20);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
  });

  it('say how far the extremes are apart, as a share of the median', () => {
    expect(summarize([100, 90, 120])).toEqual({ median: 100, least: 90, most: 120, spread: 0.3 });
    expect(summarize([0, 0]).spread).toBe(0);
  });

  it('take percentiles by the nearest rank', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(percentile(values, 0.5)).toBe(50);
    expect(percentile(values, 0.99)).toBe(99);
    expect(percentile(values, 1)).toBe(100);
    expect(percentile([5], 0.01)).toBe(5);
  });

  it('refuse to tell anything of no values', () => {
    for (const tell of [() => median([]), () => summarize([]), () => percentile([], 0.5)]) {
      expect(tell).toThrow(RangeError);
    }
  });

  it('leave the values as they are', () => {
    const values = [3, 1, 2];
    median(values);
    percentile(values, 0.9);
    expect(values).toEqual([3, 1, 2]);
  });
});
