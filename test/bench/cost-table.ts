import { costLoads, costModes, type CostMetric } from './cost-rows.js';
import type { Runs } from './measure.js';
import { median } from './statistics.js';

interface Column {
  readonly title: string;
  readonly metric: CostMetric;
  readonly digits: number;
  /** Default: the metric as it is. */
  readonly shown?: (value: number) => number;
}

const columns: readonly Column[] = [
  { title: 'records per commit', metric: 'commits', digits: 0, shown: (commits) => 1 / commits },
  { title: 'commits', metric: 'commits', digits: 3 },
  { title: 'statements', metric: 'statements', digits: 2 },
  { title: 'round trips', metric: 'trips', digits: 2 },
  { title: 'WAL, B', metric: 'walBytes', digits: 0 },
  { title: "handler's WAL, B", metric: 'handlerWalBytes', digits: 0 },
  { title: 'page images, B', metric: 'imageBytes', digits: 0 },
];

/** What one record costs the database in each mode, in Markdown; a dash is what was not counted. Undefined if no mode was measured. */
export function costTable(runs: readonly Runs[]): string | undefined {
  const lines = Object.entries(costLoads).flatMap(([load, experiment]) =>
    Object.values(costModes).flatMap(([variant, title]) => {
      const run = runs.find((each) => each.experiment === experiment && each.variant === variant);
      if (!run || run.metrics.size === 0) return [];
      const cells = columns.map(({ metric, digits, shown = (value) => value }) => {
        const values = run.metrics.get(metric);
        return values && values.length > 0 ? shown(median(values)).toFixed(digits) : '–';
      });
      return [`| ${load}, ${title} | ${cells.join(' | ')} |`];
    }),
  );
  if (lines.length === 0) return undefined;
  return [
    `| per record | ${columns.map(({ title }) => title).join(' | ')} |`,
    `| --- | ${columns.map(() => '--:').join(' | ')} |`,
    ...lines,
  ].join('\n');
}
