import type { Facts, InvariantName, Violation } from '../oracle/facts.js';
import { effectOnce } from './i1-effect-once.js';
import { conservation } from './i2-conservation.js';
import { order } from './i3-order.js';
import { offsets } from './i4-offsets.js';
import { replies } from './i5-replies.js';
import { fencing } from './i6-fencing.js';
import { outbox } from './i7-outbox.js';
import { liveness } from './i8-liveness.js';
import { bounds } from './i9-bounds.js';
import { truth } from './i10-truth.js';

type Checker = (facts: Facts) => Iterable<Violation>;

/** What each invariant is about, and who judges it. */
export const invariants: Readonly<
  Record<InvariantName, { readonly title: string; readonly check: Checker }>
> = {
  I1: { title: 'effect once', check: effectOnce },
  I2: { title: 'conservation', check: conservation },
  I3: { title: 'order', check: order },
  I4: { title: 'offsets', check: offsets },
  I5: { title: 'replies', check: replies },
  I6: { title: 'fencing', check: fencing },
  I7: { title: 'outbox', check: outbox },
  I8: { title: 'liveness', check: liveness },
  I9: { title: 'bounds', check: bounds },
  I10: { title: 'truth', check: truth },
};

export function violationsOf(facts: Facts): Violation[] {
  return Object.values(invariants).flatMap(({ check }) => [...check(facts)]);
}
