import type { Facts, Violation } from '../oracle/facts.js';
import { grouped } from './lookup.js';

/**
 * I10: the library's own counters equal the effect log. A process whose connections were cut may have committed what it
 * could not count: there it may count less, never more.
 */
export function* truth(facts: Facts): Generator<Violation> {
  const effects = grouped(facts.effects, ({ instance }) => instance);
  for (const { name, running, disturbed, counters } of facts.instances) {
    if (!running) continue;
    const handled = counters?.['handled'];
    const written = effects.get(name)?.length ?? 0;
    if (handled === written || (disturbed && handled !== undefined && handled < written)) continue;
    const what = `${name} counts ${handled ?? 'nothing'} handled, and has written ${written} effects`;
    yield { invariant: 'I10', what };
  }
}
