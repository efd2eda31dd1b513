import { setTimeout as sleep } from 'node:timers/promises';
import { within } from '../../../sample/servers/wait-for.js';
import type { Dice } from '../dice.js';
import type { FaultyProxy, Traffic } from '../ground/faulty-proxy.js';
import type { Instance } from '../ground/instance.js';
import type { Fault } from './fault.js';

type Peer = 'pg' | 'broker';

const peers: Record<
  Peer,
  { readonly name: string; readonly proxies: (instance: Instance) => readonly FaultyProxy[] }
> = {
  pg: { name: 'Postgres', proxies: ({ database }) => [database] },
  broker: { name: 'the broker', proxies: ({ brokers }) => brokers },
};

/** What happens to the traffic of one process for a while. */
const troubles: Record<string, { readonly about: string; readonly traffic: (dice: Dice) => Traffic }> = {
  refuse: { about: 'no connection to', traffic: () => ({ kind: 'refuse' }) },
  delay: {
    about: 'slow answers on the way to and from',
    traffic: (dice) => ({ kind: 'delay', millis: dice.between(20, 400) }),
  },
  'half-open': {
    about: 'silence on connections that stay open to',
    traffic: (dice) => ({ kind: 'half-open', towards: dice.pick(['server', 'client', 'both'] as const) }),
  },
  slow: {
    about: 'few bytes per second to and from',
    traffic: (dice) => ({ kind: 'slow', bytesPerSecond: dice.between(20_000, 200_000) }),
  },
};

function forAWhile(peer: Peer, trouble: string): Fault {
  const { about, traffic } = troubles[trouble]!;
  const { name, proxies } = peers[peer];
  return {
    name: `${peer}-${trouble}`,
    about: `${about} ${name}, for 1 to 9 s, in one process`,
    run: ({ ground: { fleet } }, dice) =>
      fleet.withVictim(dice, async (victim) => {
        const millis = dice.between(1_000, 9_000);
        const kind = traffic(dice);
        victim.disturbed = true;
        for (const proxy of proxies(victim)) proxy.set(kind);
        await sleep(millis);
        for (const proxy of proxies(victim)) proxy.heal();
        return `${victim.name} for ${millis} ms`;
      }),
  };
}

function cut(peer: Peer): Fault {
  const { name, proxies } = peers[peer];
  return {
    name: `${peer}-cut`,
    about: `all connections of one process to ${name} cut at once`,
    run: ({ ground: { fleet } }, dice) =>
      fleet.withVictim(dice, (victim) => {
        victim.disturbed = true;
        for (const proxy of proxies(victim)) proxy.cut();
        return Promise.resolve(victim.name);
      }),
  };
}

const cutCommit: Fault = {
  name: 'pg-cut-commit',
  about: 'a connection to Postgres cut during COMMIT: before it arrives, or before its answer does',
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      const when = dice.pick(['before', 'after'] as const);
      victim.disturbed = true;
      const happened = victim.database.cutAtCommit(when);
      const done = await within(8_000, 'COMMIT', happened).then(
        () => true,
        () => false,
      );
      victim.database.heal();
      return done ? `${victim.name}, ${when} COMMIT took effect` : `${victim.name} did not commit`;
    }),
};

export const networkFaults: readonly Fault[] = [
  cut('pg'),
  cutCommit,
  cut('broker'),
  ...(['pg', 'broker'] as const).flatMap((peer) =>
    Object.keys(troubles).map((trouble) => forAWhile(peer, trouble)),
  ),
];
