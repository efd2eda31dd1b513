import { effectFlaws } from '../../bench/experiment.js';
import type { Runs } from '../../bench/measure.js';
import { latencyPicture } from '../../bench/pictures/latency.js';
import { throughputPicture } from '../../bench/pictures/throughput.js';
import { asJson, asMarkdown, asText, toRows } from '../../bench/report.js';
import { rowDefinitions, type Variant } from '../../bench/targets.js';

const runs = (
  experiment: string,
  variant: Variant,
  metrics: Record<string, number[]>,
  flaws: string[] = [],
): Runs => ({
  experiment,
  variant,
  metrics: new Map(Object.entries(metrics)),
  flaws,
});

const dispatch = rowDefinitions.filter(({ id }) => id === 'events.empty');

describe('report of the benchmark', () => {
  it('says what is wrong with effects that must be there once each', () => {
    expect(effectFlaws({ effects: 10, distinct: 10 }, 10)).toEqual([]);
    expect(effectFlaws({ effects: 12, distinct: 10 }, 10)).toEqual(['2 effects doubled']);
    expect(effectFlaws({ effects: 9, distinct: 8 }, 10)).toEqual(['1 effects doubled', '2 effects lost']);
    expect(effectFlaws({ effects: 11, distinct: 11 }, 10)).toEqual(["1 effects of nobody's orders"]);
  });

  it('shows medians, the spread of ours, and how far each target was reached', () => {
    const [row] = toRows(dispatch, [
      runs('dispatch', 'ours', { perSecond: [90, 100, 120] }),
      runs('dispatch', 'nest', { perSecond: [40, 60] }, ['1 effects lost']),
      runs('events', 'ceiling', { perSecond: [1_000] }),
    ]);
    expect(row).toEqual({
      id: 'events.empty',
      unit: 'records/s',
      ours: 100,
      nest: 50,
      nestBest: null,
      dbos: null,
      ceiling: null,
      target: 'perSecond ≥ 2× nest',
      met: true,
      checks: [{ metric: 'perSecond', relation: 'at least', bound: 2, times: 'nest', value: 2, met: true }],
      spread: 0.3,
      flaws: ['nest: 1 effects lost'],
    });
  });

  it('shows a target that is not met as not met, in every form', () => {
    const rows = toRows(dispatch, [
      runs('dispatch', 'ours', { perSecond: [99] }),
      runs('dispatch', 'nest', { perSecond: [50] }),
    ]);
    expect(JSON.parse(asJson(rows))).toMatchObject({ rows: [{ id: 'events.empty', met: false }] });
    expect(asText(rows, dispatch)).toContain('1.98× nest by perSecond (at least 2): NOT MET');
    expect(asMarkdown(rows, dispatch, ['today'])).toContain('1.98 (perSecond ≥ 2× nest) **not met**');
  });

  it('draws who was measured, and nothing where nobody was', () => {
    expect(throughputPicture([])).toBeUndefined();
    expect(latencyPicture([])).toBeUndefined();
    const bars = throughputPicture([
      runs('events', 'ours', { perSecond: [12_000, 12_345, 13_000] }),
      runs('events', 'nest', { perSecond: [3_000] }),
    ]);
    expect(bars).toMatch(/^<svg [^]*this library[^]*12,345[^]*built-in transport[^]*3,000[^]*<\/svg>\n$/);
    const latencies = {
      'p50.1': [1],
      'p50.10': [2],
      'p50.100': [9],
      'p99.1': [3],
      'p99.10': [5],
      'p99.100': [40],
    };
    const curves = latencyPicture([runs('request', 'ours', latencies)]);
    expect(curves).toContain('requests in flight');
    expect(curves).not.toMatch(/NaN|Infinity|undefined/);
  });
});
