import type { Facts, Violation } from '../oracle/facts.js';

/** I8: once faults are healed, lag reaches 0 in bounded time. */
export function* liveness({ end }: Facts): Generator<Violation> {
  const invariant = 'I8';
  if (end.stuck !== undefined) yield { invariant, what: `stuck with a lag of ${end.lag}` };
  else if (end.lag > 0) yield { invariant, what: `a lag of ${end.lag} is left` };
  if (end.unplannedEnds > 0)
    yield { invariant, what: `${end.unplannedEnds} processes ended although nobody wanted it` };
}
