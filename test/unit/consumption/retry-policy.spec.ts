import {
  DEFAULT_RETRY,
  delayWithin,
  PROBE_BACKOFF,
  retryDelay,
} from '../../../lib/consumption/retry-policy.js';
import { systemClock, type Clock } from '../../../lib/runtime/clock.js';

const drawing = (value: number): Clock => ({ ...systemClock, random: () => value });
const policy = { attempts: 10, initial: 100, factor: 2, max: 1_000, jitter: false };

describe('retryDelay', () => {
  it('grows by the factor up to the maximum', () => {
    const delays = [1, 2, 3, 4, 5, 6].map((failures) => retryDelay(policy, failures, systemClock));
    expect(delays).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  it('draws from zero up to the delay under jitter', () => {
    const jittered = { ...policy, jitter: true };
    expect(retryDelay(jittered, 2, drawing(0))).toBe(0);
    expect(retryDelay(jittered, 2, drawing(0.5))).toBe(100);
    expect(retryDelay(jittered, 2, drawing(0.999_999))).toBe(200);
  });

  it('stays finite after any number of failures', () => {
    for (const failures of [100, 5_000, Number.MAX_SAFE_INTEGER]) {
      expect(retryDelay(policy, failures, systemClock)).toBe(1_000);
      expect(retryDelay({ ...policy, initial: 0 }, failures, systemClock)).toBe(0);
      expect(retryDelay(PROBE_BACKOFF, failures, drawing(0.5))).toBe(1_000);
    }
  });

  it('has the documented defaults', () => {
    expect(DEFAULT_RETRY).toEqual({
      attempts: 10,
      initial: 100,
      factor: 2,
      max: 30_000,
      jitter: true,
      deadline: Infinity,
    });
  });
});

describe('delayWithin', () => {
  it('has the last attempt begin at the deadline, and says nothing once that is over', () => {
    expect(delayWithin(50, 100)).toBe(50);
    expect(delayWithin(Infinity, 100)).toBe(100);
    expect(delayWithin(0, 100)).toBe(100);
  });
});
