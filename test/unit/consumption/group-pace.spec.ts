import { GroupPace } from '../../../lib/consumption/group-pace.js';

describe('GroupPace', () => {
  const bounds = { maxRecords: 64, maxMillis: 10, stretchedMillis: 250, concurrent: false };

  /** After many groups alike: `begin`, then `runs` handlers of `each`, then `commit`; milliseconds. */
  function paced(times: { begin: number; each: number; commit: number }, own: Partial<typeof bounds> = {}) {
    const pace = new GroupPace({ ...bounds, ...own });
    const { begin, each, commit } = times;
    for (let group = 0; group < 60; group++) {
      const runs = Math.max(2, pace.next().records);
      const handlers = begin + runs * each;
      pace.note({ runs, depth: runs, first: begin + each, handlers, commit, couldHoldMore: true });
    }
    return pace;
  }

  it('takes as many as it may while nothing is known', () => {
    expect(new GroupPace(bounds).next()).toEqual({ records: 64, each: 64 });
  });

  it('takes what can run until its limit, which begins with the transaction', () => {
    const pace = paced({ begin: 0.4, each: 0.5, commit: 0.4 });
    expect(pace.limitMillis).toBe(10);
    expect(pace.next().records).toBe(19);
  });

  it('recovers from a beginning that had to wait', () => {
    const pace = paced({ begin: 0.4, each: 0.5, commit: 0.4 });
    pace.note({ runs: 2, depth: 2, first: 9_000.5, handlers: 9_001, commit: 1, couldHoldMore: true });
    for (let group = 0; group < 60; group++) {
      const runs = pace.next().records;
      expect(runs).toBeGreaterThan(1);
      const handlers = 0.4 + runs * 0.5;
      pace.note({ runs, depth: runs, first: 0.9, handlers, commit: 0.4, couldHoldMore: true });
    }
    expect(pace.next().records).toBe(19);
  });

  it('stretches its limit where beginning and committing take long', () => {
    const pace = paced({ begin: 3, each: 1, commit: 5 });
    expect(pace.limitMillis).toBeCloseTo(80, 1);
    expect(pace.next().records).toBe(64);
    expect(paced({ begin: 3, each: 2, commit: 5 }).next().records).toBe(38);
  });

  it('bounds by time what each sequence adds, and not what all do, where they run at once', () => {
    expect(paced({ begin: 1, each: 3, commit: 0 }, { concurrent: true }).next()).toEqual({
      records: 64,
      each: 3,
    });
  });
});
