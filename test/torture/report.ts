import { invariants } from './invariants/check.js';
import type { InvariantName } from './oracle/facts.js';
import { historyOf } from './oracle/history.js';
import type { Options } from './options.js';
import type { Result } from './run.js';

/** Violations of one invariant that are shown with all that is known of them; the others are counted. */
const SHOWN = 5;

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
      return `${name.padEnd(4)} ${title.padEnd(14)} ${count === 0 ? 'ok' : `${count} violations`}`;
    }),
  ];
  return lines.join('\n');
}

/** Each violation, with everything that is known of its message. */
export function details({ violations, facts }: Result, { seed }: Options): string {
  const parts: string[] = [];
  for (const name of Object.keys(invariants)) {
    const own = violations.filter(({ invariant }) => invariant === name);
    for (const { id, what } of own.slice(0, SHOWN)) {
      parts.push(`VIOLATION of ${name}, seed ${seed}: ${id === undefined ? '' : `${id} `}${what}`);
      if (id !== undefined) parts.push(...historyOf(facts, id).map((line) => `    ${line}`));
    }
    if (own.length > SHOWN) parts.push(`and ${own.length - SHOWN} more violations of ${name}`);
  }
  return parts.join('\n');
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
