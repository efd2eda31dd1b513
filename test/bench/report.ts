import type { Runs } from './measure.js';
import { median, summarize } from './statistics.js';
import { judge, metAll, type RowDefinition, type Target, type Variant, type Verdict } from './targets.js';

/** A line of the results. Columns are medians; null where nobody was measured. */
export interface Row {
  readonly id: string;
  readonly unit: string;
  readonly ours: number | null;
  readonly nest: number | null;
  readonly nestBest: number | null;
  readonly dbos: number | null;
  readonly ceiling: number | null;
  /** All targets in words; null if there is none. */
  readonly target: string | null;
  /** Whether all are met; null if that cannot be said. */
  readonly met: boolean | null;
  readonly checks: readonly Verdict[];
  /** Of our runs: (most - least) / median. */
  readonly spread: number | null;
  /** Effects that were lost or doubled, by any variant of the row's columns. */
  readonly flaws: readonly string[];
}

export type Column = 'ours' | 'nest' | 'nestBest' | 'dbos' | 'ceiling';

export const columns: readonly Column[] = ['ours', 'nest', 'nestBest', 'dbos', 'ceiling'];

/** Reads the rows off what was measured. */
export function toRows(definitions: readonly RowDefinition[], runs: readonly Runs[]): Row[] {
  return definitions.map((definition) => {
    const of = (variant: Variant | undefined) =>
      runs.find((run) => run.experiment === definition.experiment && run.variant === variant);
    const value = (variant: Variant | undefined, metric: string) => {
      const values = of(variant)?.metrics.get(metric);
      return values && values.length > 0 ? median(values) : undefined;
    };
    const own = of(definition.ours)?.metrics.get(definition.metric);
    const checks = definition.targets.map((target) => judge(target, definition.ours, value));
    const column = (name: Column) => value(definition[name], definition.metric) ?? null;
    return {
      id: definition.id,
      unit: definition.unit,
      ours: column('ours'),
      nest: column('nest'),
      nestBest: column('nestBest'),
      dbos: column('dbos'),
      ceiling: column('ceiling'),
      target: checks.length > 0 ? definition.targets.map(inWords).join(', ') : null,
      met: metAll(checks),
      checks,
      spread: own && own.length > 0 ? summarize(own).spread : null,
      flaws: columns.flatMap((name) =>
        (of(definition[name])?.flaws ?? []).map((flaw) => `${definition[name]}: ${flaw}`),
      ),
    };
  });
}

/** `perSecond ≥ 4× nest`. */
export function inWords({ metric, relation, bound, times }: Target): string {
  const sign = relation === 'at least' ? '≥' : '≤';
  return `${metric} ${sign} ${bound}${times === undefined ? '' : `× ${times}`}`;
}

/** For people: each row with its ratios first, then the figures that they come from. */
export function asText(rows: readonly Row[], definitions: readonly RowDefinition[]): string {
  const lines = rows.flatMap((row) => {
    const { title, digits } = definitions.find(({ id }) => id === row.id)!;
    const verdict = row.met === null ? '' : row.met ? '  met' : '  NOT MET';
    const figures = columns
      .filter((name) => row[name] !== null)
      .map((name) => `${name} ${number(row[name]!, digits)}${name === 'ours' ? spread(row) : ''}`);
    return [
      `${row.id}: ${title}${verdict}`,
      ...row.checks.map((check) => `    ${checkInWords(check)}`),
      `    ${figures.join('   ')} ${row.unit}`,
      ...row.flaws.map((flaw) => `    ${flaw}`),
      '',
    ];
  });
  return lines.join('\n');
}

/** `4.31× nest by perSecond (at least 4): met`. */
function checkInWords({ metric, relation, bound, times, value, met }: Verdict): string {
  const what = value === null ? 'not measured' : Number(value.toPrecision(3));
  const verdict = met === null ? '' : met ? ': met' : ': NOT MET';
  return `${what}${times === undefined ? '' : `× ${times}`} by ${metric} (${relation} ${bound})${verdict}`;
}

/** A page of its own. `facts` say where and with what it was measured. */
export function asMarkdown(
  rows: readonly Row[],
  definitions: readonly RowDefinition[],
  facts: readonly string[],
): string {
  const cell = (row: Row, name: Column, digits: number) =>
    row[name] === null ? '–' : number(row[name], digits);
  const lines = rows.map((row) => {
    const { digits, title } = definitions.find(({ id }) => id === row.id)!;
    const checks = row.checks.map(({ value, met, ...target }) => {
      const shown = value === null ? 'not measured' : String(Number(value.toPrecision(3)));
      return `${shown} (${inWords(target)})${met === false ? ' **not met**' : ''}`;
    });
    const cells = columns.map((name) => cell(row, name, digits));
    return `| \`${row.id}\` ${title} | ${cells.join(' | ')} | ${row.unit} | ${percent(row.spread)} | ${checks.join('<br>')} |`;
  });
  return [
    '# Results',
    '',
    ...facts.map((fact) => `- ${fact}`),
    '',
    `| row | ${columns.join(' | ')} | unit | spread | targets: reached (wanted) |`,
    `| --- | ${columns.map(() => '--:').join(' | ')} | --- | --: | --- |`,
    ...lines,
  ].join('\n');
}

export function asJson(rows: readonly Row[]): string {
  return JSON.stringify({ rows });
}

function spread(row: Row): string {
  return row.spread === null || row.spread === 0 ? '' : ` (spread ${percent(row.spread)})`;
}

function percent(share: number | null): string {
  return share === null ? '–' : `${Math.round(share * 100)} %`;
}

function number(value: number, digits: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
