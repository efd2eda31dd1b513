import { Random } from './random.js';
import type { Options } from './options.js';
import type { Transfer } from './services/messages.js';
import { seededTransfers, withRepetitions } from './transfers.js';

/** Broker's minimum, for both services: what a killed member costs before its partitions are given to another one. */
export const sessionTimeoutMs = 6_000;

export interface Fault {
  /** `kill` is SIGKILL and a new process; `freeze` is SIGSTOP, and SIGCONT after the session timeout. */
  readonly kind: 'kill' | 'freeze';
  /** Hits when so many transfers of its wave have been booked. */
  readonly afterBooked: number;
  /** Chooses among the processes that run: at least 0, below 1. */
  readonly victim: number;
}

/** Transfers that are produced at once, after those of the wave before have been booked. */
export interface Wave {
  /** Numbers of the transfers that occur here for the first time. */
  readonly first: number;
  readonly last: number;
  /** In this order, repetitions included. */
  readonly produced: readonly Transfer[];
  /** What happens before: all are stopped, the group starts over at offset 0, and two come back; or a second one joins. */
  readonly before: 'rewind' | 'second-instance' | undefined;
  readonly faults: readonly Fault[];
}

export interface Scenario {
  readonly transfers: number;
  readonly kills: number;
  readonly waves: readonly Wave[];
}

/**
 * The same for both services: a second process joins, one of the two is frozen and the other killed; the rewind, and two
 * processes again that are killed one right after the other, until no kill is left; a quiet end. Kills of one wave run
 * into their session timeouts together, which keeps the demo short.
 */
export function planScenario({ transfers, kills, seed }: Options): Scenario {
  const random = new Random(seed);
  const whileFrozen = Math.min(1, kills);
  const later = kills - whileFrozen;
  const plans: Plan[] = [
    { before: 'second-instance', faults: ['freeze', ...kill(whileFrozen)] },
    ...Array.from({ length: Math.ceil(later / 2) }, (_, index): Plan => ({
      before: index === 0 ? 'rewind' : undefined,
      faults: kill(Math.min(2, later - 2 * index)),
    })),
    { before: later === 0 ? 'rewind' : undefined, faults: [] },
  ];

  const all = seededTransfers(transfers, random);
  const size = transfers / plans.length;
  const waves = plans.map((_, index) => all.slice(Math.round(index * size), Math.round((index + 1) * size)));
  const produced = withRepetitions(waves, random);
  return {
    transfers,
    kills,
    waves: plans.map(({ before, faults }, index) => ({
      first: waves[index]![0]!.id,
      last: waves[index]!.at(-1)!.id,
      produced: produced[index]!,
      before,
      faults: faults.map((kind, order) => ({
        kind,
        // The second has to be within reach of one process, which has half of the partitions.
        afterBooked: Math.ceil(waves[index]!.length * (0.15 + 0.2 * order + 0.2 * random.fraction())),
        victim: random.fraction(),
      })),
    })),
  };
}

interface Plan {
  readonly before: Wave['before'];
  readonly faults: readonly Fault['kind'][];
}

function kill(times: number): 'kill'[] {
  return Array.from({ length: times }, () => 'kill');
}
