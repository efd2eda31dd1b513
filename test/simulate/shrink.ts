import type { InvariantName } from './invariants.js';
import type { Behaviour, Plan } from './plan.js';
import { run, type Outcome } from './world.js';

const MAX_RUNS = 500;

export interface Shrunk {
  readonly plan: Plan;
  readonly outcome: Outcome;
  readonly runs: number;
}

/**
 * Leaves out of a plan whatever is not needed for it to fail: faults, messages, repetitions, instances. What is left
 * breaks one of the same invariants.
 */
export async function shrink(plan: Plan, outcome: Outcome): Promise<Shrunk> {
  const broken = new Set<InvariantName>(outcome.violations.map(({ invariant }) => invariant));
  let best: Shrunk = { plan, outcome, runs: 0 };
  let runs = 0;
  for (let isSmaller = true; isSmaller && runs < MAX_RUNS;) {
    isSmaller = false;
    // Large parts first; after a success the same place is tried again, as what stood behind it has moved there.
    for (const shorten of [withoutFaults, withoutMessages, withoutOrders, simpler]) {
      for (let index = 0; runs < MAX_RUNS;) {
        const candidate = shorten(best.plan, index);
        if (candidate === 'none') break;
        const next = candidate && (await run(candidate));
        if (candidate) runs++;
        if (next?.violations.some(({ invariant }) => broken.has(invariant))) {
          best = { plan: candidate as Plan, outcome: next, runs };
          isSmaller = true;
        } else index++;
      }
    }
  }
  return { ...best, runs };
}

/** A smaller plan; `undefined` if there is nothing to gain at this index, `none` past the last. */
type Shortening = (plan: Plan, index: number) => Plan | undefined | 'none';

const withoutFaults: Shortening = (plan, index) => {
  const { faults } = plan;
  return index < faults.length ? { ...plan, faults: faults.toSpliced(index, 1) } : 'none';
};

const withoutMessages: Shortening = (plan, index) => {
  const { messages } = plan;
  return index < messages.length ? { ...plan, messages: messages.toSpliced(index, 1) } : 'none';
};

const withoutOrders: Shortening = (plan, index) => {
  const { parking } = plan;
  if (!parking || index >= parking.orders.length) return 'none';
  return { ...plan, parking: { ...parking, orders: parking.orders.toSpliced(index, 1) } };
};

const SIMPLIFICATIONS: readonly ((plan: Plan) => Plan | undefined)[] = [
  (plan) => (plan.sharesRow ? { ...plan, sharesRow: false } : undefined),
  (plan) => (plan.rewind ? { ...plan, rewind: false } : undefined),
  (plan) => (plan.skew.some((each) => each !== 0) ? { ...plan, skew: plan.skew.map(() => 0) } : undefined),
  (plan) => {
    const instances = plan.instances - 1;
    const faults = plan.faults.filter((fault) => !('instance' in fault) || fault.instance < instances);
    return instances > 0 ? { ...plan, instances, faults } : undefined;
  },
  (plan) => (plan.mode === 'transaction' ? undefined : { ...plan, mode: 'transaction' }),
  (plan) => (plan.parking ? withoutParking(plan) : undefined),
  (plan) => (plan.ordering === 'partition' ? undefined : { ...plan, ordering: 'partition' }),
  (plan) => (plan.concurrent ? { ...plan, concurrent: false } : undefined),
  (plan) => (plan.groupSize > 1 ? { ...plan, groupSize: 1 } : undefined),
];

/** Nobody is sick then: a record would be dead rather than parked, which is another way of failing. */
function withoutParking(plan: Plan): Plan {
  const well = (behaviour: Behaviour): Behaviour =>
    behaviour.kind === 'sick' ? { kind: 'good' } : behaviour;
  const messages = plan.messages.map((message) => {
    const { first, second, answer } = message.behaviour;
    return { ...message, behaviour: { first: well(first), second: well(second), answer } };
  });
  return { ...plan, parking: undefined, messages };
}

/** Ways in which a message can be made simpler. */
const SIMPLER = 5;

const simpler: Shortening = (plan, index) => {
  const simplification = SIMPLIFICATIONS[index];
  if (simplification) return simplification(plan);
  // Then message by message: fewer records, well-behaved, quick, silent.
  const place = index - SIMPLIFICATIONS.length;
  const message = plan.messages[Math.floor(place / SIMPLER)];
  if (!message) return 'none';
  const good = { first: { kind: 'good' }, second: { kind: 'good' }, answer: { kind: 'good' } } as const;
  const isGood = Object.values(message.behaviour).every(({ kind }) => kind === 'good');
  const simple = [
    message.records.length > 1 ? { ...message, records: message.records.slice(0, -1) } : undefined,
    isGood ? undefined : { ...message, behaviour: good },
    message.work > 0 ? { ...message, work: 0 } : undefined,
    message.emits > 0 ? { ...message, emits: 0 } : undefined,
    message.steps > 0 ? { ...message, steps: 0 } : undefined,
  ][place % SIMPLER];
  return simple && { ...plan, messages: plan.messages.map((each) => (each === message ? simple : each)) };
};
