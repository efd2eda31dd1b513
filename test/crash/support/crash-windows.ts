import { expect } from '@jest/globals';
import type { FailPoint, FailureWindow, Place, ServiceSettings } from '../children/service-settings.js';
import { CommitCutter } from './commit-cutter.js';
import type { CrashWorld } from './crash-world.js';
import { violations } from './invariants.js';
import type { Setting } from './setting.js';

/** Where a process is killed in either mode. */
export type CrashWindow = Exclude<Place, FailureWindow | 'in-transaction' | 'before-work'>;

/** Crash window → the how manieth time the process is killed there: somewhere in mid-work. */
export const windows: Record<CrashWindow, { title: string; events: number; requests: number }> = {
  'before-claim': { title: 'before the claim', events: 3, requests: 2 },
  'after-claim': { title: 'after the claim, before the handler', events: 3, requests: 2 },
  'in-handler': { title: 'inside the handler, after its write', events: 13, requests: 7 },
  'after-commit': { title: 'after COMMIT, before replies and emitted records', events: 3, requests: 2 },
  'after-ack': { title: 'after the produce was acknowledged, before that is noted', events: 3, requests: 5 },
  // Nothing is committed then: everything comes again.
  'before-offset-commit': { title: 'after all, before the offset commit', events: 1, requests: 1 },
};
/** Kills a service among events and another one among requests, in one window, and sees that a third one goes on. */
export async function killThere(
  world: CrashWorld,
  place: CrashWindow,
  settings: Partial<ServiceSettings> = {},
): Promise<void> {
  const pointOn = (on: 'events' | 'requests'): FailPoint => ({
    place,
    on,
    nth: windows[place][on],
    action: 'kill',
  });
  await world.publish(Array.from({ length: 60 }, (_, n) => ({ id: `event-${n}`, partition: n % 2 })));
  await world.start('first', { ...settings, failPoint: pointOn('events') }).killed();
  expect(await violations(world, 'mid-work')).toEqual([]);

  const ids = Array.from({ length: 24 }, (_, n) => `request-${n}`);
  const answers = Promise.all(ids.map((id) => world.request({ id })));
  await world.start('second', { ...settings, failPoint: pointOn('requests') }).killed();
  expect(await violations(world, 'mid-work')).toEqual([]);

  world.start('third', settings);
  const answered = await answers;
  const effects = await world.query<{ id: string; nonce: string }>(
    'select id, nonce from {effects}.effect where topic = $1',
    [world.topics.requests],
  );
  const stored = new Map(effects.map(({ id, nonce }) => [id, nonce]));
  expect(answered).toEqual(ids.map((id) => [{ id, nonce: stored.get(id) }]));

  const repeated = await Promise.all(ids.map((id) => world.request({ id })));
  expect(repeated).toEqual(answered);
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
}

/** Loses answers to COMMIT again and again. */
export async function loseAnswers(
  setting: Setting,
  settings: Partial<ServiceSettings> = {},
  events = 300,
): Promise<void> {
  const cutter = new CommitCutter(setting.databaseUrl, 4, 16);
  try {
    const world = await setting.world({ serviceDatabaseUrl: await cutter.start() });
    // One counted failure would be the end of a record.
    world.start('service', { ...settings, attempts: 1 });
    await world.publish(Array.from({ length: events }, (_, n) => ({ id: `event-${n}`, partition: n % 2 })));
    const answers = await Promise.all(
      Array.from({ length: 24 }, (_, n) => world.request({ id: `request-${n}` })),
    );
    await world.settled();
    expect(answers.map((values) => values.length)).toEqual(answers.map(() => 1));
    expect(await violations(world, 'settled')).toEqual([]);
    expect(cutter.cuts.before).toBeGreaterThan(2);
    expect(cutter.cuts.after).toBeGreaterThan(2);
  } finally {
    await cutter.close();
  }
}
