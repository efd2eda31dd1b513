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

const sigstop: Fault = {
  name: 'sigstop',
  about: 'SIGSTOP for longer than the session timeout, then SIGCONT: a zombie',
  run: ({ ground: { fleet } }, dice) =>
    fleet.withVictim(dice, async (victim) => {
      const millis = SESSION_TIMEOUT + dice.between(300, 3_000);
      victim.frozen = true;
      victim.disturbed = true;
      victim.signal('SIGSTOP');
      await sleep(millis);
      victim.signal('SIGCONT');
      victim.frozen = false;
      return `${victim.name} for ${millis} ms`;
    }),
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
  sigterm,
  blockLoop,
  churn,
  clockSkew,
];
