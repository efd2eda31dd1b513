import type { Delivery } from './attempt.js';
import type { Entry, Sequence } from './sequences.js';

/** What is to be run of these records: one after the other, or of each sequence by itself. */
export function chainsOf(entries: readonly Entry[], concurrent: boolean): readonly (readonly Delivery[])[] {
  const chains = new Map<Sequence | undefined, Delivery[]>();
  for (const { sequence, deliveries } of entries) {
    const which = concurrent ? sequence : undefined;
    const open = deliveries!.filter(({ settled }) => !settled);
    const chain = chains.get(which);
    if (chain) chain.push(...open);
    else chains.set(which, open);
  }
  // Of a record with several handlers, one may have to run by itself.
  return entries.length > 1 ? [...chains.values()] : [...chains.values()].map(groupable);
}

/** The longest run from the start that may share a group. */
function groupable(deliveries: readonly Delivery[]): readonly Delivery[] {
  const end = deliveries.findIndex(({ alone }) => alone);
  return end < 0 ? deliveries : deliveries.slice(0, Math.max(end, 1));
}

/** The sequences that these deliveries were taken from. */
export function sequencesOf(deliveries: readonly Delivery[], entries: readonly Entry[]): Set<Sequence> {
  const wanted = new Set(deliveries.map(({ record }) => record));
  return new Set(entries.filter(({ record }) => wanted.has(record)).map(({ sequence }) => sequence));
}
