import { systemClock } from '../../../lib/runtime/clock.js';

describe('the clock of the system', () => {
  it.each(['setTimeout', 'setBackgroundTimeout'] as const)(
    'does not take a time that is longer than timers know for none: %s',
    async (method) => {
      const order: string[] = [];
      const timers = [2 ** 31, Number.MAX_SAFE_INTEGER, Infinity].map((milliseconds) =>
        systemClock[method](() => order.push(`after ${milliseconds} ms`), milliseconds),
      );
      await new Promise<void>((resolve) => systemClock.setTimeout(resolve, 20));
      expect(order).toEqual([]);
      for (const timer of timers) systemClock.clearTimeout(timer);
    },
  );
});
