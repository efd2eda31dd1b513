import type { Facts, Violation } from '../oracle/facts.js';
import { grouped, isGone } from './lookup.js';

/** I1: for every completed key the effect log has exactly one row; for others none. */
export function* effectOnce(facts: Facts): Generator<Violation> {
  const invariant = 'I1';
  for (const [, effects] of grouped(facts.effects, ({ handler, id }) => `${handler} ${id}`)) {
    const { handler, id } = effects[0]!;
    if (effects.length > 1) yield { invariant, id, what: `${effects.length} effects in ${handler}` };
  }
  const byKey = grouped(facts.effects, ({ handler, key }) => `${handler} ${key}`);
  for (const [, effects] of byKey) {
    const { handler, key, id } = effects[0]!;
    const messages = new Set(effects.map((effect) => effect.id));
    if (messages.size > 1)
      yield { invariant, id, what: `${messages.size} messages have effects under key ${key} in ${handler}` };
  }
  const ids = new Map([
    ...facts.records.map(({ headers, id }) => [headers['idempotency-key'] ?? '', id] as const),
    ...facts.log.map(({ key, id }) => [key, id] as const),
  ]);
  for (const { handler, key, state } of facts.executions) {
    const effects = byKey.get(`${handler} ${key}`) ?? [];
    if (state === 'completed' && effects.length === 0) {
      const id = ids.get(key);
      yield { invariant, id, what: `key ${key} is completed in ${handler}, and has no effect` };
    } else if (state !== 'completed' && effects.length > 0) {
      yield {
        invariant,
        id: effects[0]!.id,
        what: `key ${key} is ${state} in ${handler}, and has an effect`,
      };
    }
  }
  const known = new Set(facts.records.map(({ id }) => id));
  for (const effect of facts.effects) {
    const { handler, id } = effect;
    if (!known.has(id) && !isGone(effect, facts))
      yield { invariant, id, what: `an effect in ${handler} of what was never produced` };
  }
}
