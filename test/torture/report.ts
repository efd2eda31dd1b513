import { invariants } from './invariants/check.js';
import { grouped } from './invariants/lookup.js';
import type { InvariantName, Violation } from './oracle/facts.js';
import { historyOf } from './oracle/history.js';
import type { Options } from './options.js';
import type { Result } from './run.js';

/** Messages that violate one invariant and are shown with all that is known of them; the others are counted. */
const SHOWN = 5;

/** "1 violation", "2 violations". */
export function counted(violations: number): string {
  return `${violations} violation${violations === 1 ? '' : 's'}`;
}

type Verdict = 'ok' | 'violated';

export function verdicts({ violations }: Result): Record<InvariantName, Verdict> {
  const violated = new Set(violations.map(({ invariant }) => invariant));
  return Object.fromEntries(
    Object.keys(invariants).map((name) => [name, violated.has(name as InvariantName) ? 'violated' : 'ok']),
  ) as Record<InvariantName, Verdict>;
}

export function table(result: Result, options: Options): string {
  const { facts, faults, violations } = result;
  const happened = Object.entries(faults).filter(([, count]) => count > 0);
  const errors = facts.settlements.filter(({ error }) => error !== undefined).length;
  const lines = [
    `seed ${options.seed}, ${options.mode} mode, order by ${options.ordering}${options.concurrent ? ' (concurrent)' : ''}, ${options.parking ? 'parking, ' : ''}${options.duration} s`,
    `messages      ${result.produced}, with ${result.duplicates} duplicates; ${facts.records.length} records in the topics`,
    `effects       ${facts.effects.length}, of ${facts.log.filter(({ what }) => what === 'start').length} runs`,
    `dead letters  ${facts.deadLetters.length}`,
    `requests      ${facts.replies.length} replies; ${facts.calls.length} through clients, ${errors} of them settled by an error`,
    `memberships   ${facts.generations.length} generations, ${facts.commits.length} offset commits, ${facts.instances.length} processes`,
    `faults        ${happened.map(([name, count]) => `${count} × ${name}`).join(', ') || 'none'}`,
    '',
    ...Object.entries(invariants).map(([name, { title }]) => {
      const count = violations.filter(({ invariant }) => invariant === name).length;
      return `${name.padEnd(4)} ${title.padEnd(14)} ${count === 0 ? 'ok' : counted(count)}`;
    }),
  ];
  return lines.join('\n');
}

/**
 * What went wrong, for somebody who sees it for the first time: what stuck first, since much else follows from that, then
 * for each violated invariant the first messages that violate it, each of them once with everything that is known of it.
 */
export function details(
  { violations, facts }: Pick<Result, 'violations' | 'facts'>,
  { seed }: Pick<Options, 'seed'>,
): string {
  const parts: string[] = [];
  const { stuck } = facts.end;
  if (stuck !== undefined) {
    parts.push(
      `STUCK, seed ${seed}: what was to be seen when nothing moved any more. What was not handled for that reason is ` +
        `reported below, too, as lost.\n\n${stuck}\n`,
    );
  }
  const subjectOf = ({ id, what }: Violation) => id ?? what;
  const bySubject = grouped(violations, subjectOf);
  const told = new Set<string>();
  for (const name of Object.keys(invariants)) {
    const subjects = new Set(violations.filter(({ invariant }) => invariant === name).map(subjectOf));
    for (const subject of [...subjects].slice(0, SHOWN).filter((each) => !told.has(each))) {
      told.add(subject);
      for (const { invariant, id, what } of bySubject.get(subject)!) {
        parts.push(`VIOLATION of ${invariant}, seed ${seed}: ${id === undefined ? '' : `${id} `}${what}`);
      }
      parts.push(...historyOf(facts, subject).map((line) => `    ${line}`));
    }
    const left = subjects.size - SHOWN;
    if (left > 0) parts.push(`and ${left} more that violate ${name}; all of them are in the line of --json`);
  }
  return parts.join('\n');
}

/** What is kept after violations, and how to have the same faults once more. */
export function whereToLook(
  { places: { group, database } }: Pick<Result, 'places'>,
  { seed }: Pick<Options, 'seed'>,
  folder: string,
): string {
  return [
    `Seed ${seed}. Kept in ${folder}:`,
    '  report.txt              this report',
    '  processes/*.log         what each process said',
    '  processes/*.executions  each run of a handler, a line when it began and when it ended',
    '  servers                 data of the servers that were started for this run, if any were',
    `Topics "${group}.*" and the consumer group "${group}" are left on the brokers; database "${database}" on the server has`,
    'the table "effect" and the views of schema "ledger".',
    `The same load and faults again: the same command with --seed ${seed}`,
  ].join('\n');
}

export function jsonLine(result: Result, options: Options, seconds: number): string {
  const { seed, messages, instances } = options;
  return JSON.stringify({
    seed,
    messages,
    instances,
    faults: result.faults,
    violations: result.violations,
    invariants: verdicts(result),
    seconds: Math.round(seconds * 10) / 10,
  });
}
