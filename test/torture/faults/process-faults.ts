import { setTimeout as sleep } from 'node:timers/promises';
import type { Place } from '../../crash/children/service-settings.js';
import { until } from '../../crash/support/until.js';
import { SESSION_TIMEOUT } from '../ground/ground.js';
import type { Fault } from './fault.js';

const places: readonly Place[] = [
  'before-claim',
  'after-claim',
  'in-handler',
  'after-commit',
  'after-ack',
  'before-offset-commit',
];

const sigkill: Fault = {
  name: 'sigkill',
  about: 'SIGKILL to a process at any moment; another one is started',
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      await victim.end('SIGKILL', 5_000);
      await fleet.replace(victim);
      return victim.name;
    }),
};

const killAt: Fault[] = places.map((place) => ({
  name: `kill-at-${place}`,
  about: `SIGKILL to a process at the fail point "${place}"; another one is started`,
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      const on = dice.pick(['events', 'events', 'requests'] as const);
      const most = place === 'before-offset-commit' ? 1 : 8;
      victim.dismissed = true;
      victim.order({ order: 'arm', point: { place, on, nth: dice.between(1, most), action: 'kill' } });
      // A process without partitions of that topic never comes by.
      await until('the fail point', () => !victim.running, 8_000).catch(() => undefined);
      if (victim.running) {
        victim.order({ order: 'arm', point: undefined });
        await victim.end('SIGKILL', 5_000);
        await fleet.replace(victim);
        return `${victim.name} (it did not come by, and was killed elsewhere)`;
      }
      await fleet.replace(victim);
      return `${victim.name}, on ${on}`;
    }),
}));

/** Longest wait for a process to come by its fail point. */
const COMES_BY = 2_000;

const sigstop: Fault = {
  name: 'sigstop',
  about: 'SIGSTOP for longer than the session timeout, then SIGCONT: a zombie',
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      const millis = SESSION_TIMEOUT + dice.between(300, 3_000);
      // At a fail point it goes on with what it was about to do, before it hears that others took over.
      const place = dice.chance(0.7) ? dice.pick(places) : undefined;
      const known = victim.reached.length;
      victim.frozen = true;
      victim.disturbed = true;
      if (place !== undefined) {
        const nth = place === 'before-offset-commit' ? 1 : dice.between(1, 4);
        victim.order({ order: 'arm', point: { place, on: 'events', nth, action: 'stop' } });
        await until('the fail point', () => victim.reached.length > known, COMES_BY).catch(() => undefined);
        victim.order({ order: 'arm', point: undefined });
      }
      const where = victim.reached.length > known ? place : 'any moment';
      victim.signal('SIGSTOP');
      await sleep(millis);
      victim.signal('SIGCONT');
      victim.frozen = false;
      return `${victim.name} at ${where} for ${millis} ms`;
    }),
};

/** Longest wait for others to have effects in all partitions of a process that stands still. */
const SUCCEEDED = 8_000;

/** Unlike `sigstop`, it leaves nothing to chance: there is a successor, and work that is not its owner's any more. */
const zombie: Fault = {
  name: 'zombie',
  about:
    'SIGSTOP just before the first claim of a group, and SIGCONT when others have gone on in its partitions',
  run: ({ ground }, dice) =>
    ground.fleet.withVictim(
      dice,
      async (victim) => {
        const known = victim.reached.length;
        victim.frozen = true;
        victim.disturbed = true;
        victim.order({
          order: 'arm',
          point: { place: 'before-work', on: 'events', nth: dice.between(1, 4), action: 'stop' },
        });
        await until('the fail point', () => victim.reached.length > known, COMES_BY).catch(() => undefined);
        victim.order({ order: 'arm', point: undefined });
        const where = victim.reached.length > known ? 'before its work' : 'at any moment';
        victim.signal('SIGSTOP');
        await sleep(SESSION_TIMEOUT);
        const isSucceeded = async () => (await ground.lastIn(victim.name)) === 0;
        await until('successors', isSucceeded, SUCCEEDED).catch(() => undefined);
        victim.signal('SIGCONT');
        victim.frozen = false;
        return `${victim.name} ${where}`;
      },
      1,
    ),
};

const sigterm: Fault = {
  name: 'sigterm',
  about: 'SIGTERM, and SIGKILL after little grace; another one is started',
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      const grace = dice.between(50, 1_500);
      await victim.end('SIGTERM', grace);
      await fleet.replace(victim);
      return `${victim.name}, ${grace} ms of grace`;
    }),
};

const blockLoop: Fault = {
  name: 'block-loop',
  about: 'an event loop that is blocked, now and then for longer than the session timeout',
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      const millis = dice.chance(0.3) ? SESSION_TIMEOUT + dice.between(0, 2_000) : dice.between(200, 3_000);
      victim.frozen = true;
      victim.order({ order: 'block', millis });
      await sleep(millis);
      // It answers orders in their order: when this one is answered, it is free.
      await victim.report(10_000);
      victim.frozen = false;
      return `${victim.name} for ${millis} ms`;
    }),
};

const churn: Fault = {
  name: 'churn',
  about: 'a member that leaves and joins in order, every 0 to 500 ms',
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      const pauses = Array.from({ length: dice.between(2, 5) }, () => dice.between(0, 500));
      // Its counters begin anew with each membership.
      victim.disturbed = true;
      await victim.churn(pauses);
      return `${victim.name}, ${pauses.length} times`;
    }),
};

const clockSkew: Fault = {
  name: 'clock-skew',
  about: 'a process that is replaced by one whose clock is 10 minutes off',
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      const minutes = dice.pick([-10, 10]);
      await victim.end('SIGTERM', 10_000);
      const { name } = await fleet.start(minutes * 60_000);
      return `${name}, by ${minutes} minutes`;
    }),
};

export const processFaults: readonly Fault[] = [
  sigkill,
  ...killAt,
  sigstop,
  zombie,
  sigterm,
  blockLoop,
  churn,
  clockSkew,
];
