import type { Facts, TopicRecord, Violation } from '../oracle/facts.js';
import { handlers, type HandlerName } from '../work.js';
import { assignments, grouped, isHostile, Outcomes } from './lookup.js';

type Fate = 'completed' | 'dead' | 'failed';

/** I2: whatever was produced is completed, dead or failed, as its producer meant it to be; nothing is unknown. */
export function* conservation(facts: Facts): Generator<Violation> {
  const invariant = 'I2';
  const outcomes = new Outcomes(facts);
  const failed = new Set(
    facts.executions.filter(({ state }) => state === 'failed').map(({ handler, key }) => `${handler} ${key}`),
  );
  const seen = new Set<string>();
  for (const { record, handler } of assignments(facts)) {
    const { id } = record;
    if (isHostile(record)) {
      const ends = outcomes.effectsOf(handler, id).length + outcomes.deathsAt(handler, record).length;
      const key = record.headers['idempotency-key'];
      const answered = key !== undefined && failed.has(`${handler} ${key}`);
      if (ends === 0 && !answered)
        yield { invariant, id, what: `a hostile record was neither handled nor given up on in ${handler}` };
      continue;
    }
    if (seen.has(`${handler} ${id}`)) continue;
    seen.add(`${handler} ${id}`);
    const found: Fate[] = [];
    if (outcomes.effectsOf(handler, id).length > 0) found.push('completed');
    if (outcomes.deathsOf(handler, id).length > 0) found.push('dead');
    if (failed.has(`${handler} ${record.headers['idempotency-key'] ?? ''}`)) found.push('failed');
    const meant = fateOf(record, handler);
    if (found.length === 0) yield { invariant, id, what: `not ${meant} in ${handler}, nor anything else` };
    else if (found.join() !== meant)
      yield { invariant, id, what: `${found.join(' and ')} in ${handler}, not ${meant}` };
  }
  for (const [, letters] of grouped(
    facts.deadLetters,
    ({ handler, topic, partition, offset }) => `${handler} ${topic}/${partition}/${offset}`,
  )) {
    if (letters.length > 1)
      yield { invariant, what: `${letters.length} dead letters of one record in ${letters[0]!.handler}` };
  }
}

/** Only the first handler of a topic fails. */
function fateOf({ work }: TopicRecord, handler: HandlerName): Fate {
  const fails = work?.failure === 'dead' || work?.failure === 'terminal';
  if (fails && handler === handlers.event) return 'dead';
  return fails && handler === handlers.request ? 'failed' : 'completed';
}
