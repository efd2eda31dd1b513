import { costFigures, type CostReadings, countedBetween } from '../../bench/cost-figures.js';
import { costTable } from '../../bench/cost-table.js';
import type { Runs } from '../../bench/measure.js';

const readings: CostReadings = {
  records: 1_000,
  marked: 800,
  commits: 1_050,
  handlerCommits: 1_000,
  own: { statements: 40, trips: 20 },
  from: { lsn: '0/1000', wal: 4_096n, handlers: { statements: 10_000, wal: 500_000 } },
  to: { lsn: '0/9000', wal: 404_096n, handlers: { statements: 10_750, wal: 575_000 } },
  pageImages: 7_500,
};

describe('what a record costs', () => {
  it('is told by the server, for the records that it counted between the marks', () => {
    const figures = costFigures(readings);
    expect(figures.walBytes).toBeCloseTo(400_000 / 750);
    expect(figures.handlerWalBytes).toBeCloseTo(100);
    expect(figures.imageBytes).toBeCloseTo(10);
    expect(figures.statements).toBeCloseTo(0.05);
    expect(figures.trips).toBeCloseTo(0.025);
    expect(figures.commits).toBeCloseTo(0.05);
  });

  it('has no commits where the server told too few, or did not tell in time', () => {
    for (const commits of [992, 1_000, undefined])
      expect(costFigures({ ...readings, commits })).not.toHaveProperty('commits');
  });

  it.each([
    ['do not exist', undefined],
    ['were set back', { statements: 3, wal: 300 }],
    ['stood still', readings.from.handlers],
    ["are of another's run as well", { statements: 12_000, wal: 900_000 }],
  ])('is counted by the marks where statistics of statements %s', (_, handlers) => {
    const figures = costFigures({ ...readings, to: { ...readings.to, handlers } });
    expect(figures.walBytes).toBeCloseTo(500);
    expect(figures.imageBytes).toBeCloseTo(9.375);
    expect(figures).not.toHaveProperty('handlerWalBytes');
  });

  it('has no page images where the server does not tell', () => {
    expect(costFigures({ ...readings, pageImages: undefined })).not.toHaveProperty('imageBytes');
  });

  it('is what a counter went up, if it was read twice and went up', () => {
    expect(countedBetween(5, 8)).toBe(3);
    for (const [before, after] of [
      [8, 5],
      [5, 5],
      [undefined, 5],
      [5, undefined],
    ])
      expect(countedBetween(before, after)).toBeUndefined();
  });

  it('is a line for each mode that was measured, with a dash for what was not counted', () => {
    const runs = (variant: Runs['variant'], metrics: Record<string, number[]>): Runs => ({
      experiment: 'costs.events',
      variant,
      metrics: new Map(Object.entries(metrics)),
      flaws: [],
    });
    const table = costTable([
      runs('ours', { commits: [0.02, 0.03, 0.025], statements: [0.05], trips: [0.04], walBytes: [403.4] }),
      runs('oursClaim', { statements: [0.12], trips: [0.06], walBytes: [1_182], handlerWalBytes: [102] }),
      runs('oursKey', {}),
    ]);
    expect(table!.split('\n').slice(2)).toEqual([
      '| events, transaction mode, groups of 64 | 40 | 0.025 | 0.05 | 0.04 | 403 | – | – |',
      '| events, claim mode | – | – | 0.12 | 0.06 | 1182 | 102 | – |',
    ]);
    expect(costTable([])).toBeUndefined();
  });
});
