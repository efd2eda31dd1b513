import { costLoads, costModes, type CostMetric } from './cost-rows.js';
import type { Runs } from './measure.js';
import { median } from './statistics.js';

const columns: readonly (readonly [CostMetric, string, number])[] = [
  ['perCommit', 'records per commit', 0],
  ['commits', 'commits', 3],
  ['statements', 'statements', 2],
  ['trips', 'round trips', 2],
  ['walBytes', 'WAL, B', 0],
  ['handlerWalBytes', "handler's WAL, B", 0],
  ['imageBytes', 'page images, B', 0],
];

/** What one record costs the database in each mode, in Markdown; undefined if that was not measured. */
export function costTable(runs: readonly Runs[]): string | undefined {
  const lines = Object.entries(costLoads).flatMap(([load, experiment]) =>
    Object.values(costModes).flatMap(([variant, title]) => {
      const run = runs.find((each) => each.experiment === experiment && each.variant === variant);
      if (!run || run.metrics.size === 0) return [];
      const cells = columns.map(([metric, , digits]) => {
        const values = run.metrics.get(metric);
        return values && values.length > 0 ? median(values).toFixed(digits) : '–';
      });
      return [`| ${load}, ${title} | ${cells.join(' | ')} |`];
    }),
  );
  if (lines.length === 0) return undefined;
  return [
    `| per record | ${columns.map(([, title]) => title).join(' | ')} |`,
    `| --- | ${columns.map(() => '--:').join(' | ')} |`,
    ...lines,
  ].join('\n');
}
