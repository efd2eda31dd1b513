import { GroupPace } from '../../../lib/consumption/group-pace.js';

describe('GroupPace', () => {
  const bounds = { maxRecords: 64, maxMillis: 10, stretchedMillis: 250, concurrent: false };

  /** After many groups alike: `begin`, then `runs` handlers of `each`, then `commit`; milliseconds. */
  function paced(
    times: { begin: number; each: number; commit: number },
    own: Partial<typeof bounds> = {},
    available = Infinity,
  ) {
    const pace = new GroupPace({ ...bounds, ...own });
    const { begin, each, commit } = times;
    for (let group = 0; group < 60; group++) {
      const runs = Math.min(available, pace.next().records);
      pace.note({ runs, depth: runs, begin, handlers: begin + runs * each, commit });
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
    pace.note({ runs: 1, depth: 1, begin: 9_000, handlers: 9_000.5, commit: 1 });
    for (let group = 0; group < 60; group++) {
      const runs = pace.next().records;
      expect(runs).toBeGreaterThan(1);
      pace.note({ runs, depth: runs, begin: 0.4, handlers: 0.4 + runs * 0.5, commit: 0.4 });
    }
    expect(pace.next().records).toBe(19);
  });

  it('stretches its limit where beginning and committing take long', () => {
    const pace = paced({ begin: 3, each: 1, commit: 5 });
    expect(pace.limitMillis).toBeCloseTo(80, 1);
    expect(pace.next().records).toBe(64);
    expect(paced({ begin: 3, each: 2, commit: 5 }).next().records).toBe(38);
  });

  it('learns of groups of one, on a busy server too, what a large one would cost', () => {
    const pace = paced({ begin: 9, each: 8, commit: 9 }, {}, 1);
    expect(pace.limitMillis).toBeCloseTo(180, 1);
    expect(pace.next().records).toBe(21);
  });

  it('takes few of slow handlers', () => {
    expect(paced({ begin: 1, each: 40, commit: 1 }).next().records).toBe(1);
    expect(paced({ begin: 1, each: 4, commit: 1 }).next().records).toBe(4);
  });

  it('bounds by time what each sequence adds, and not what all do, where they run at once', () => {
    expect(paced({ begin: 1, each: 3, commit: 0 }, { concurrent: true }).next()).toEqual({
      records: 64,
      each: 3,
    });
  });
});
