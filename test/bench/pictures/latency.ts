import type { Runs } from '../measure.js';
import { median } from '../statistics.js';
import { loads, type Variant } from '../targets.js';
import { element, ink, label, picture } from './svg.js';

const WIDTH = 860;
const HEIGHT = 420;
const TOP = 104;
const BOTTOM = 360;
const panels = [
  { experiment: 'request', title: 'echo, nothing stored', left: 72 },
  { experiment: 'request.durable', title: 'one insert; ours is exactly once', left: 498 },
] as const;
const small = { fill: ink.faint, 'font-size': 11 };
const PANEL = 290;

const lines: readonly { variant: Variant; name: string; color: string }[] = [
  { variant: 'nest', name: 'built-in', color: '#b0532e' },
  { variant: 'nestBest', name: 'built-in, 12 at once', color: '#7d93ad' },
  { variant: 'ours', name: 'this library', color: ink.ours },
];

const figure = (value: number) => String(Number(value.toPrecision(2)));

/** Request-reply: median and 99th percentile at 1, 10 and 100 in flight. Undefined if none was measured. */
export function latencyPicture(runs: readonly Runs[]): string | undefined {
  const series = panels.flatMap((panel) =>
    lines.flatMap((line) => {
      const found = runs.find(
        ({ experiment, variant }) => experiment === panel.experiment && variant === line.variant,
      );
      if (!found) return [];
      const values = (metric: string) =>
        loads.map((load) => median(found.metrics.get(`${metric}.${load}`) ?? [Number.NaN]));
      return [{ ...panel, ...line, p50: values('p50'), p99: values('p99') }];
    }),
  );
  if (series.length === 0) return undefined;
  const all = series.flatMap(({ p50, p99 }) => [...p50, ...p99]).filter(Number.isFinite);
  const low = Math.floor(Math.log10(Math.min(...all)));
  const high = Math.ceil(Math.log10(Math.max(...all)));
  const y = (value: number) =>
    BOTTOM - ((Math.log10(value) - low) / Math.max(1, high - low)) * (BOTTOM - TOP);
  const x = (left: number, index: number) => left + (index * PANEL) / (loads.length - 1);

  const grid = panels.flatMap(({ left, title }) => [
    label(left, TOP - 18, title, { 'font-weight': 600 }),
    ...Array.from({ length: high - low + 1 }, (_, step) => 10 ** (low + step)).flatMap((value) => [
      element('path', { d: `M${left} ${y(value)}h${PANEL}`, stroke: ink.line }),
      label(left - 10, y(value) + 4, `${value} ms`, {
        'text-anchor': 'end',
        fill: ink.faint,
        'font-size': 11,
      }),
    ]),
    ...loads.map((load, index) =>
      label(x(left, index), BOTTOM + 20, String(load), { 'text-anchor': 'middle', fill: ink.faint }),
    ),
    label(left + PANEL / 2, BOTTOM + 40, 'requests in flight', { 'text-anchor': 'middle', fill: ink.faint }),
  ]);
  const curves = series.flatMap(({ left, color, p50, p99, variant }) => {
    const path = (values: readonly number[]) =>
      values
        .map(
          (value, index) => `${index === 0 ? 'M' : 'L'}${x(left, index).toFixed(1)} ${y(value).toFixed(1)}`,
        )
        .join('');
    return [
      element('path', { d: path(p99), fill: 'none', stroke: color, 'stroke-dasharray': '4 4', opacity: 0.6 }),
      element('path', { d: path(p50), fill: 'none', stroke: color, 'stroke-width': 2.5 }),
      ...p50.flatMap((value, index) => [
        element('circle', { cx: x(left, index), cy: y(value), r: 3.5, fill: color }),
        // Both built-in lines lie close together: one of them carries figures.
        variant === 'nestBest' ? '' : label(x(left, index) + 6, y(value) + 16, figure(value), small),
      ]),
    ];
  });
  const names = series
    .filter(({ experiment }) => experiment === series[0]!.experiment)
    .map(({ name, color }, index) => {
      const at = 340 + index * 172;
      return (
        element('rect', { x: at, y: 23, width: 14, height: 10, rx: 2, fill: color }) +
        label(at + 20, 32, name)
      );
    });
  return picture(
    WIDTH,
    HEIGHT,
    'Request-reply latency by load',
    'Solid: median. Dashed: 99th percentile. Logarithmic.',
    [...names, ...grid, ...curves],
  );
}
