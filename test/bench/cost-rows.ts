import type { RowDefinition, Target, Variant } from './targets.js';

/** What is counted per record; the handler's own statement, its WAL and, in claim mode, its commit are not part of ours. */
export const costMetrics = [
  'commits',
  'statements',
  'trips',
  'walBytes',
  'handlerWalBytes',
  'imageBytes',
] as const;

export type CostMetric = (typeof costMetrics)[number];

export const costModes = {
  transaction: ['ours', 'transaction mode, groups of 64'],
  key: ['oursKey', 'ordered by key, concurrent groups of 64'],
  claim: ['oursClaim', 'claim mode'],
  step: ['oursStep', 'claim mode, the work in a step'],
} as const satisfies Record<string, readonly [Variant, string]>;

export const costLoads = { events: 'costs.events', requests: 'costs.requests' } as const;

const most = (bound: number, metric: CostMetric): Target => ({ metric, relation: 'at most', bound });

/** Transaction mode shares what it does among the records of a group; claim mode has to commit each step by itself. */
const targets: Partial<Record<string, readonly Target[]>> = {
  'costs.events.transaction': [most(0.05, 'commits'), most(1.2, 'statements'), most(400, 'walBytes')],
  'costs.events.key': [most(0.05, 'commits'), most(1.2, 'statements')],
  'costs.requests.transaction': [most(0.05, 'commits'), most(1.2, 'statements')],
};

/** A row for each mode and kind of record: what one record costs the database. */
export const costRows: readonly RowDefinition[] = Object.entries(costLoads).flatMap(([load, experiment]) =>
  Object.entries(costModes).map(([mode, [variant, title]]): RowDefinition => {
    const id = `costs.${load}.${mode}`;
    return {
      id,
      title: `WAL per record, ${load}, ${title} (commits, statements and round trips: see the table of costs)`,
      unit: 'B',
      digits: 0,
      experiment,
      metric: 'walBytes',
      ours: variant,
      targets: targets[id] ?? [],
    };
  }),
);
