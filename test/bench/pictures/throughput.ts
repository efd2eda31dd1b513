import type { Runs } from '../measure.js';
import { summarize } from '../statistics.js';
import type { Variant } from '../targets.js';
import { element, ink, label, picture } from './svg.js';

const WIDTH = 860;
const LEFT = 318;
const BAR = 22;
const STEP = 34;
const TOP = 80;

/** One line each: what it is, and what it promises. */
const captions: Readonly<Record<Variant, { name: string; promise: string }>> = {
  ours: { name: 'this library', promise: 'exactly once' },
  oursKey: { name: 'this library, ordered by key', promise: 'exactly once' },
  oursClaim: { name: 'this library, claim mode', promise: 'once, calls outside at least once' },
  oursStep: { name: 'this library, claim mode with steps', promise: 'once, calls outside at least once' },
  nest: { name: 'built-in transport', promise: 'at least once' },
  nestBest: { name: 'built-in transport, 12 at once', promise: 'at least once' },
  inbox: { name: 'built-in + inbox by hand', promise: 'exactly once' },
  inboxBest: { name: 'built-in + inbox by hand, 12 at once', promise: 'exactly once' },
  dbos: { name: 'DBOS kafkajs-receive', promise: 'workflow per record' },
  dbosOrdered: { name: 'DBOS, ordered by partition', promise: 'workflow per record' },
  ceiling: { name: 'bare kafkajs, a transaction per batch', promise: 'ceiling' },
  ceilingPipelined: { name: 'bare kafkajs, inserts pipelined', promise: 'ceiling' },
};

/** Bars: records per second with one insert each, by who does it. Undefined if nobody was measured. */
export function throughputPicture(runs: readonly Runs[]): string | undefined {
  const bars = runs
    .filter(({ experiment, metrics }) => experiment === 'events' && metrics.has('perSecond'))
    .map(({ variant, metrics }) => ({ variant, ...summarize(metrics.get('perSecond')!) }))
    .sort((a, b) => b.median - a.median);
  if (bars.length === 0) return undefined;
  const most = Math.max(...bars.map((bar) => bar.most));
  const x = (value: number) => LEFT + (value / most) * (WIDTH - LEFT - 90);
  const content = bars.flatMap(({ variant, median, least, most: top }, index) => {
    const y = TOP + index * STEP;
    const middle = y + BAR / 2;
    const { name, promise } = captions[variant];
    const own = variant.startsWith('ours');
    const fill = own ? ink.ours : captions[variant].promise === 'ceiling' ? '#c9d1d9' : '#7d93ad';
    return [
      label(LEFT - 12, middle - 1, name, { 'text-anchor': 'end', 'font-weight': own ? 600 : 400 }),
      label(LEFT - 12, middle + 12, promise, { 'text-anchor': 'end', fill: ink.faint, 'font-size': 11 }),
      element('rect', { x: LEFT, y, width: Math.max(1, x(median) - LEFT), height: BAR, rx: 2, fill }),
      element('path', { d: `M${x(least)} ${middle}H${x(top)}`, stroke: ink.text, 'stroke-width': 1.5 }),
      label(Math.max(x(median), x(top)) + 8, middle + 5, Math.round(median).toLocaleString('en-US')),
    ];
  });
  return picture(
    WIDTH,
    TOP + bars.length * STEP + 12,
    'Records per second, one insert per record',
    '12 partitions, 1,000 keys, 300 bytes of JSON. Bars are medians, lines reach from the slowest to the fastest run.',
    content,
  );
}
