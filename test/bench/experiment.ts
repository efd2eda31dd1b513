import type { Bed } from './bed.js';
import type { Variant } from './targets.js';

/** How long and how large runs are. */
export interface Scale {
  /** About how long the measured part of a run is. */
  readonly seconds: number;
  readonly quick: boolean;
  /** Rows that the ledger is filled with for `growth`. */
  readonly ledgerRows: number;
}

/** What one run of one variant has shown. */
export interface RunResult {
  readonly metrics: Readonly<Record<string, number>>;
  /** What was not as it should be: effects that are lost, doubled or unknown. Empty where all is well. */
  readonly flaws: readonly string[];
}

/** Something that is done with each variant in turn. */
export interface Experiment {
  readonly id: string;
  readonly variants: readonly Variant[];
  /** One run of it takes minutes: it is repeated so often at most. Default: as often as all. */
  readonly mostRepeats?: number;
  /** One run, in a place of its own, with everything started afresh. */
  run(bed: Bed, variant: Variant, scale: Scale): Promise<RunResult>;
}

/** What is wrong with the effects of orders that must have one each. */
export function effectFlaws(
  { effects, distinct }: { effects: number; distinct: number },
  orders: number,
): string[] {
  const flaws: string[] = [];
  if (effects > distinct) flaws.push(`${effects - distinct} effects doubled`);
  if (distinct < orders) flaws.push(`${orders - distinct} effects lost`);
  if (distinct > orders) flaws.push(`${distinct - orders} effects of nobody's orders`);
  return flaws;
}
