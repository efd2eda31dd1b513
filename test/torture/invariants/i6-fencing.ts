import type { Effect, Facts, Generation, Violation } from '../oracle/facts.js';
import { grouped, lane } from './lookup.js';

/** The coordinator's clock has milliseconds. */
const CLOCK = 2;

/** I6: no effect commits under an epoch that was superseded before it; in claim mode, under a claim that was taken over. */
export function fencing(facts: Facts): Iterable<Violation> {
  return facts.mode === 'claim' ? byClaim(facts) : byEpoch(facts);
}

/**
 * Who owned a partition when is taken from the coordinator: once a successor has committed in a partition, its
 * predecessor may commit there again only as the owner of a later generation than the one under which the successor did.
 */
function* byEpoch(facts: Facts): Generator<Violation> {
  const owners = new Map<string, { generation: number; at: number; order: number; who: string }[]>();
  facts.generations.forEach((generation: Generation, order) => {
    for (const [who, owned] of generation.owned) {
      for (const name of owned) {
        const list = owners.get(name) ?? [];
        list.push({ generation: generation.generation, at: generation.at, order, who });
        owners.set(name, list);
      }
    }
  });
  const last = new Map<string, { effect: Effect; order: number }>();
  for (const effect of facts.effects) {
    const line = `${effect.handler} ${lane(effect)} wave ${effect.wave}`;
    const before = last.get(line);
    const terms = (owners.get(lane(effect)) ?? []).filter(
      ({ who, at }) => who === effect.instance && at <= effect.committedAt + CLOCK,
    );
    const newest = terms.at(-1)?.order ?? -1;
    if (before && before.effect.instance !== effect.instance && newest < before.order) {
      yield {
        invariant: 'I6',
        id: effect.id,
        what:
          `${effect.instance} committed offset ${effect.offset} of ${line} after ${before.effect.instance}, its successor, ` +
          `had committed offset ${before.effect.offset}`,
      };
      continue;
    }
    last.set(line, { effect, order: newest });
  }
}

/**
 * An execution is its claimant's until another one runs it, whoever has the partition meanwhile: from then on nothing of
 * the earlier run is committed.
 */
function* byClaim(facts: Facts): Generator<Violation> {
  const starts = grouped(
    facts.log.filter(({ what }) => what === 'start'),
    ({ handler, key }) => `${handler} ${key}`,
  );
  for (const effect of facts.effects) {
    const runs = starts.get(`${effect.handler} ${effect.key}`) ?? [];
    const own = runs.findIndex(({ run }) => run === effect.run);
    const next = own === -1 ? undefined : runs[own + 1];
    if (next && next.at + CLOCK < effect.committedAt) {
      yield {
        invariant: 'I6',
        id: effect.id,
        what:
          `${effect.instance} committed offset ${effect.offset} of ${effect.handler} ${lane(effect)} by run ${effect.run} ` +
          `after ${next.instance} had begun run ${next.run}`,
      };
    }
  }
}
