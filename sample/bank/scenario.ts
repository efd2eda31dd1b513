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
  /** What happens before: all processes are stopped and the group starts over at offset 0, or a second one joins. */
  readonly before: 'rewind' | 'second-instance' | undefined;
  readonly faults: readonly Fault[];
}

export interface Scenario {
  readonly transfers: number;
  readonly kills: number;
  readonly waves: readonly Wave[];
}

/**
 * The same for both services: single kills; a second process, of which one is frozen while the other is killed (both
 * members then run into their session timeouts together); the rewind; the other kills; a quiet end.
 */
export function planScenario({ transfers, kills, seed }: Options): Scenario {
  const random = new Random(seed);
  const fault = (kind: Fault['kind'], size: number, from: number, to: number): Fault => ({
    kind,
    afterBooked: Math.ceil(size * (from + random.fraction() * (to - from))),
    victim: random.fraction(),
  });
  const kill = (size: number) => [fault('kill', size, 0.2, 0.6)];
  const frozen = (size: number) => {
    const freeze = fault('freeze', size, 0.15, 0.3);
    return kills === 0 ? [freeze] : [freeze, fault('kill', size, 0.35, 0.5)];
  };
  const rest = Math.max(0, kills - 1);
  const early = Math.floor(rest / 2);
  const late = rest - early;
  const plans: Pick<PlannedWave, 'before' | 'faults'>[] = [
    ...Array.from({ length: early }, () => ({ faults: kill })),
    { before: 'second-instance', faults: frozen },
    ...Array.from({ length: late }, (_, index) => ({
      ...(index === 0 && { before: 'rewind' as const }),
      faults: kill,
    })),
    { ...(late === 0 && { before: 'rewind' as const }), faults: () => [] },
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
      faults: faults(waves[index]!.length),
    })),
  };
}

interface PlannedWave {
  readonly before?: Wave['before'];
  readonly faults: (size: number) => Fault[];
}
