import type { Dice } from '../dice.js';

export interface PlannedFault {
  readonly name: string;
  /** After the start of the load, ms. */
  readonly at: number;
  /** What the fault draws from. */
  readonly dice: Dice;
}

/** Average time from one fault to the next: some still go on when the next one comes. */
const GAP = 2_500;
/** Nothing happens in this share of the time at its beginning and its end. */
const QUIET = 0.04;

/** Every fault in turn, in an order and at times that follow from the dice; each at least once. */
export function planFaults(names: readonly string[], duration: number, dice: Dice): PlannedFault[] {
  if (names.length === 0) return [];
  const length = duration * 1_000;
  const [from, to] = [length * QUIET, length * (1 - QUIET)];
  const count = Math.max(names.length, Math.floor((to - from) / GAP));
  const order: string[] = [];
  while (order.length < count) order.push(...dice.shuffled(names));
  const times = Array.from({ length: count }, () => from + dice.fraction() * (to - from)).sort(
    (a, b) => a - b,
  );
  return times.map((at, n) => {
    const name = order[n]!;
    return { name, at, dice: dice.fork(`${name}/${n}`) };
  });
}
