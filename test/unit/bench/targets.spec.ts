import { judge, metAll, rowDefinitions, type Target, variantsOf } from '../../bench/targets.js';

const faster: Target = { metric: 'perSecond', relation: 'at least', bound: 4, times: 'nest' };
const lookup = (values: Readonly<Record<string, number>>) => (variant: string) => values[variant];

describe('targets of the benchmark', () => {
  it('compare with somebody else by the ratio', () => {
    expect(judge(faster, 'ours', lookup({ ours: 4_000, nest: 1_000 }))).toMatchObject({
      value: 4,
      met: true,
    });
    expect(judge(faster, 'ours', lookup({ ours: 3_999, nest: 1_000 }))).toMatchObject({ met: false });
  });

  it('bound a metric from above as well', () => {
    const small: Target = { metric: 'walBytes', relation: 'at most', bound: 400 };
    expect(judge(small, 'ours', lookup({ ours: 400 }))).toMatchObject({ value: 400, met: true });
    expect(judge(small, 'ours', lookup({ ours: 401 }))).toMatchObject({ met: false });
  });

  it('say nothing where somebody was not measured', () => {
    for (const values of [{ ours: 1 }, { nest: 1 }, { ours: 1, nest: 0 }] as Record<string, number>[]) {
      expect(judge(faster, 'ours', lookup(values))).toMatchObject({ value: null, met: null });
    }
  });

  it('are met together only if each is', () => {
    expect(metAll([{ met: true }, { met: true }])).toBe(true);
    expect(metAll([{ met: true }, { met: null }, { met: false }])).toBe(false);
    expect(metAll([{ met: true }, { met: null }])).toBeNull();
    expect(metAll([])).toBeNull();
  });

  it('make a row run whom it shows and whom it compares with, once each', () => {
    const row = rowDefinitions.find(({ id }) => id === 'events.insert')!;
    expect(variantsOf(row).sort()).toEqual([
      'ceiling',
      'dbos',
      'dbosOrdered',
      'inboxBest',
      'nest',
      'nestBest',
      'ours',
    ]);
  });

  it('stand in rows whose ids differ', () => {
    const ids = rowDefinitions.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});
