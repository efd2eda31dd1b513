import { costRows } from './cost-rows.js';

/** Who is measured. `ours…` is this library, everybody else is compared with it. */
export type Variant =
  | 'ours'
  | 'oursKey'
  | 'oursClaim'
  | 'oursStep'
  | 'nest'
  | 'nestBest'
  | 'inbox'
  | 'inboxBest'
  | 'dbos'
  | 'dbosOrdered'
  | 'ceiling'
  | 'ceilingPipelined';

/** How variants are called in what people read. */
export const variantNames: Readonly<Record<Variant, string>> = {
  ours: 'this library',
  oursKey: "this library, `ordering: 'key'`, concurrent groups",
  oursClaim: 'this library, claim mode',
  oursStep: 'this library, claim mode, the work in a step',
  nest: 'built-in transport, defaults, at-least-once',
  nestBest: 'built-in transport, 12 partitions at once, at-least-once',
  inbox: 'built-in transport with a hand-written inbox, defaults',
  inboxBest: 'built-in transport with a hand-written inbox, 12 partitions at once',
  dbos: 'DBOS kafkajs-receive',
  dbosOrdered: "DBOS kafkajs-receive, `ordering: 'partition'`",
  ceiling: 'bare kafkajs, one hand-written transaction per batch',
  ceilingPipelined: 'bare kafkajs, one hand-written transaction per batch, pipelined',
};

/**
 * One thing that ours must reach: a bound on a metric of its own, or, with `times`, on the ratio to the same metric of
 * somebody else.
 */
export interface Target {
  readonly metric: string;
  readonly relation: 'at least' | 'at most';
  readonly bound: number;
  readonly times?: Variant;
}

/** A line of the table of results. */
export interface RowDefinition {
  readonly id: string;
  /** What is measured, for people. */
  readonly title: string;
  readonly unit: string;
  /** Decimals shown. */
  readonly digits: number;
  /** The experiment whose runs this row is read off. */
  readonly experiment: string;
  readonly metric: string;
  /** Which variants fill the columns; ours is always there. */
  readonly ours: Variant;
  readonly nest?: Variant;
  readonly nestBest?: Variant;
  readonly dbos?: Variant;
  readonly ceiling?: Variant;
  /** All must hold. None: the row is there to be looked at. */
  readonly targets: readonly Target[];
}

const atLeast = (bound: number, metric: string, times?: Variant): Target => ({
  metric,
  relation: 'at least',
  bound,
  ...(times ? { times } : {}),
});
const atMost = (bound: number, metric: string, times?: Variant): Target => ({
  metric,
  relation: 'at most',
  bound,
  ...(times ? { times } : {}),
});

/** Against the built-in transport at its defaults: p50 and requests per second at 1, 10 and 100 in flight. */
const requestTargets = {
  request: { 1: [0.4, 2.5], 10: [0.2, 5], 100: [0.35, 4] },
  'request.durable': { 1: [0.6, 1.6], 10: [0.3, 4], 100: [0.35, 4] },
} as const;

export const loads = [1, 10, 100] as const;

const requestRows = (['request', 'request.durable'] as const).flatMap((experiment) =>
  loads.map((load): RowDefinition => {
    const [latency, rate] = requestTargets[experiment][load];
    const what = experiment === 'request' ? 'echo of 1 kB' : 'one insert, reply stored, exactly once';
    return {
      id: `${experiment}.${load}`,
      title: `request-reply, ${what}, ${load} in flight: p50`,
      unit: 'ms',
      digits: 2,
      experiment,
      metric: `p50.${load}`,
      ours: 'ours',
      nest: 'nest',
      nestBest: 'nestBest',
      targets: [atMost(latency, `p50.${load}`, 'nest'), atLeast(rate, `perSecond.${load}`, 'nest')],
    };
  }),
);

/** Every row, with the targets of the project: the one place for both. */
export const rowDefinitions: readonly RowDefinition[] = [
  {
    id: 'events.insert',
    title: 'events, one insert per handler, exactly once',
    unit: 'records/s',
    digits: 0,
    experiment: 'events',
    metric: 'perSecond',
    ours: 'ours',
    nest: 'nest',
    nestBest: 'nestBest',
    dbos: 'dbos',
    ceiling: 'ceiling',
    targets: [
      atLeast(4, 'perSecond', 'nest'),
      atLeast(1.5, 'perSecond', 'nestBest'),
      atLeast(3, 'perSecond', 'inboxBest'),
      atLeast(0.55, 'perSecond', 'ceiling'),
      atLeast(12, 'perSecond', 'dbos'),
      atLeast(1000, 'perSecond', 'dbosOrdered'),
    ],
  },
  {
    id: 'events.insert.key',
    title: 'the same, ordered by key, groups worked on concurrently',
    unit: 'records/s',
    digits: 0,
    experiment: 'events',
    metric: 'perSecond',
    ours: 'oursKey',
    nest: 'nest',
    nestBest: 'nestBest',
    ceiling: 'ceilingPipelined',
    targets: [
      atLeast(6, 'perSecond', 'nest'),
      atLeast(2, 'perSecond', 'nestBest'),
      atLeast(0.5, 'perSecond', 'ceilingPipelined'),
    ],
  },
  {
    id: 'events.empty',
    title: 'events, empty handler: dispatch alone, not durable',
    unit: 'records/s',
    digits: 0,
    experiment: 'dispatch',
    metric: 'perSecond',
    ours: 'ours',
    nest: 'nest',
    nestBest: 'nestBest',
    ceiling: 'ceiling',
    targets: [atLeast(2, 'perSecond', 'nest')],
  },
  {
    id: 'events.cpu',
    title: 'CPU of the process per record of events.insert',
    unit: 'µs',
    digits: 0,
    experiment: 'events',
    metric: 'cpuMicros',
    ours: 'ours',
    nest: 'nest',
    nestBest: 'nestBest',
    dbos: 'dbos',
    ceiling: 'ceiling',
    targets: [atMost(0.6, 'cpuMicros', 'nest')],
  },
  ...requestRows,
  {
    id: 'latency.idle',
    title: 'a lone event, produce to committed effect: p50',
    unit: 'ms',
    digits: 2,
    experiment: 'latency',
    metric: 'p50',
    ours: 'ours',
    nest: 'nest',
    dbos: 'dbos',
    targets: [atMost(1.5, 'p50', 'nest'), atMost(0.01, 'p50', 'dbos')],
  },
  {
    id: 'rewind',
    title: 'records suppressed after a rewind to the beginning',
    unit: 'records/s',
    digits: 0,
    experiment: 'rewind',
    metric: 'perSecond',
    ours: 'ours',
    targets: [atLeast(60_000, 'perSecond')],
  },
  {
    id: 'failover',
    title: 'SIGKILL of one of two instances until all its partitions move on',
    unit: 's',
    digits: 1,
    experiment: 'failover',
    metric: 'seconds',
    ours: 'ours',
    nest: 'nest',
    targets: [atMost(3, 'seconds')],
  },
  {
    id: 'startup',
    title: 'process start to first record handled, schema in place',
    unit: 'ms',
    digits: 0,
    experiment: 'startup',
    metric: 'millis',
    ours: 'ours',
    nest: 'nest',
    targets: [atMost(1.5, 'millis', 'nest')],
  },
  {
    id: 'memory',
    title: 'resident memory at the end of events.insert',
    unit: 'MB',
    digits: 0,
    experiment: 'events',
    metric: 'residentMb',
    ours: 'ours',
    nest: 'nest',
    nestBest: 'nestBest',
    dbos: 'dbos',
    ceiling: 'ceiling',
    targets: [atMost(1.1, 'residentMb', 'nest')],
  },
  {
    id: 'cost',
    title: 'WAL per record of events.insert (its commits and statements are checked too)',
    unit: 'B',
    digits: 0,
    experiment: 'events',
    metric: 'walBytes',
    ours: 'ours',
    nest: 'nest',
    nestBest: 'inbox',
    dbos: 'dbos',
    ceiling: 'ceiling',
    targets: [atMost(0.05, 'commits'), atMost(1.2, 'statements'), atMost(400, 'walBytes')],
  },
  ...costRows,
  {
    id: 'growth',
    title: 'full ledger: share of the throughput with an empty one',
    unit: '×',
    digits: 2,
    experiment: 'growth',
    metric: 'ledgerShare',
    ours: 'ours',
    targets: [atLeast(0.85, 'ledgerShare'), atLeast(1, 'twoInstances')],
  },
  {
    id: 'failing',
    title: '1 % failing records (dead in the ledger): share of the throughput with none',
    unit: '×',
    digits: 2,
    experiment: 'failing',
    metric: 'share',
    ours: 'ours',
    targets: [],
  },
];

/** How one target stands; `met` is null if what it compares with was not measured. */
export interface Verdict extends Target {
  /** The metric, or the ratio. */
  readonly value: number | null;
  readonly met: boolean | null;
}

/** A metric's value of a variant; undefined if it was not measured. */
export type Lookup = (variant: Variant, metric: string) => number | undefined;

export function judge(target: Target, ours: Variant, lookup: Lookup): Verdict {
  const own = lookup(ours, target.metric);
  const other = target.times === undefined ? 1 : lookup(target.times, target.metric);
  if (own === undefined || other === undefined || other === 0) return { ...target, value: null, met: null };
  const value = own / other;
  return {
    ...target,
    value,
    met: target.relation === 'at least' ? value >= target.bound : value <= target.bound,
  };
}

/** False if one target is not met, null if that cannot be said or there is none, else true. */
export function metAll(verdicts: readonly Pick<Verdict, 'met'>[]): boolean | null {
  if (verdicts.some(({ met }) => met === false)) return false;
  return verdicts.length === 0 || verdicts.some(({ met }) => met === null) ? null : true;
}

/** Whose runs a row needs: its columns, and whom its targets compare with. */
export function variantsOf(row: RowDefinition): Variant[] {
  const named = [
    row.ours,
    row.nest,
    row.nestBest,
    row.dbos,
    row.ceiling,
    ...row.targets.map(({ times }) => times),
  ];
  return [...new Set(named.filter((variant) => variant !== undefined))];
}
