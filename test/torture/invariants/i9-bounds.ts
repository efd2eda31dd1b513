import type { Facts, Violation } from '../oracle/facts.js';

const limitOf = { memory: 'memory', connections: 'connections', transaction: 'transaction' } as const;
const unitOf = {
  memory: 'bytes',
  connections: 'connections',
  transaction: 'ms of an open transaction',
} as const;

/** I9: memory, running handlers, connections and the age of open transactions stay under their limits. */
export function* bounds(facts: Facts): Generator<Violation> {
  const invariant = 'I9';
  for (const { what, who, value } of facts.samples) {
    const limit = facts.limits[limitOf[what]];
    if (value > limit)
      yield { invariant, what: `${who}: ${Math.round(value)} ${unitOf[what]}, at most ${limit} are allowed` };
  }
  const running = new Map<string, Set<string>>();
  const most = new Map<string, number>();
  for (const { what, instance, run } of facts.log) {
    const runs = running.get(instance) ?? new Set();
    running.set(instance, runs);
    if (what === 'start') runs.add(run);
    else runs.delete(run);
    most.set(instance, Math.max(most.get(instance) ?? 0, runs.size));
  }
  for (const [instance, count] of most) {
    const limit = facts.limits.running;
    if (count > limit)
      yield { invariant, what: `${instance}: ${count} handlers ran at once, at most ${limit} are allowed` };
  }
}
