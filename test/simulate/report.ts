import type { Violation } from './invariants.js';
import type { Plan, PlannedMessage, PlannedParking } from './plan.js';

/** A run for people: what broke, what it took, and what happened. */
export function explained(plan: Plan, violations: readonly Violation[], trace: readonly string[]): string {
  return [
    ...violations.map(({ invariant, what }) => `${invariant}: ${what}`),
    '',
    described(plan),
    ...plan.messages.map((message) => `  ${messageText(message)}`),
    '',
    '     time      step  who      what',
    ...trace,
  ].join('\n');
}

function described(plan: Plan): string {
  const { instances, partitions, concurrency, groupSize, messages, faults, rewind } = plan;
  const { mode, ordering, concurrent, parking } = plan;
  const again = rewind ? ', read twice' : '';
  return (
    `${count(instances, 'instance')}, ${count(partitions, 'partition')} per topic, concurrency ${concurrency}, ` +
    `groups of ${groupSize}${concurrent && ordering !== 'partition' ? ' at once' : ''}, mode ${mode}, order by ${ordering}, ${count(faults.length, 'fault')}, ${count(messages.length, 'message')}${again}` +
    (parking ? `, ${parkingText(parking)}` : '')
  );
}

function parkingText({
  retryAfter,
  attempts,
  maxSequences,
  maxLetters,
  mendedAt,
  orders,
}: PlannedParking): string {
  return (
    `parking (tries: ${attempts}, from ${retryAfter} ms; ${count(maxSequences, 'sequence')} of ` +
    `${count(maxLetters, 'letter')}, mended at step ${mendedAt}${orders.length > 0 ? `, ${count(orders.length, 'order')}` : ''})`
  );
}

function messageText(message: PlannedMessage): string {
  const { n, topic, key, recordKey, records, behaviour, work, emits, steps } = message;
  const handlers = topic === 'events' ? (['first', 'second'] as const) : (['answer'] as const);
  const trouble = handlers.flatMap((handler) => {
    const how = behaviour[handler];
    if (how.kind === 'good') return [];
    return `${handler} ${how.kind}${'runs' in how ? ` ${how.runs} ×` : ''}`;
  });
  return [
    `message ${n} to ${topic}`,
    topic === 'events' ? `known by ${key}` : 'a request',
    count(records.length, 'record') + (recordKey === null ? '' : ` of ${recordKey}`),
    ...(work > 0 ? [`takes ${work} ms`] : []),
    ...(emits > 0 ? [`emits ${emits}`] : []),
    ...(steps > 0 ? [count(2 * steps, 'step')] : []),
    ...trouble,
  ].join(', ');
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
