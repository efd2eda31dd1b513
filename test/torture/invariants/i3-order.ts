import type { Effect, Facts, Violation } from '../oracle/facts.js';
import { handlers } from '../work.js';
import { isGone, keyLane, lane, parkedKeys, place } from './lookup.js';

/**
 * I3: effects of a partition, or of a key in a partition, were committed in the order of its offsets. That nothing is
 * left out between them is I2.
 */
export function* order(facts: Facts): Generator<Violation> {
  const keys = new Map(facts.records.map((record) => [place(record), record.key]));
  const parked = parkedKeys(facts);
  const lineOf = (effect: Effect) => {
    const key = (isGone(effect, facts) ? effect.recordKey : keys.get(place(effect))) ?? null;
    const ofKey = keyLane({ ...effect, key });
    const isByKey = facts.ordering === 'key' || (effect.handler === handlers.event && parked.has(ofKey));
    return `${effect.handler} ${isByKey ? ofKey : lane(effect)} wave ${effect.wave}`;
  };
  const last = new Map<string, bigint>();
  for (const effect of facts.effects) {
    const line = lineOf(effect);
    const before = last.get(line) ?? -1n;
    if (effect.offset <= before) {
      const what = `in ${line}: offset ${effect.offset} after offset ${before}`;
      yield { invariant: 'I3', id: effect.id, what };
    }
    if (effect.offset > before) last.set(line, effect.offset);
  }
}
