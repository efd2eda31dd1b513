import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { FailPoint, Place } from './children/service-settings.js';
import { CommitCutter } from './support/commit-cutter.js';
import type { CrashWorld } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';

/** Crash window → the how manieth time the process is killed there: somewhere in mid-work. */
const windows: Record<Place, { title: string; events: number; requests: number }> = {
  'before-claim': { title: 'before the claim', events: 3, requests: 2 },
  'after-claim': { title: 'after the claim, before the handler', events: 3, requests: 2 },
  'in-handler': { title: 'inside the handler, after its write', events: 13, requests: 7 },
  'after-commit': { title: 'after COMMIT, before replies and emitted records', events: 3, requests: 2 },
  'after-ack': { title: 'after the produce was acknowledged, before that is noted', events: 3, requests: 5 },
  // Nothing is committed then: everything comes again.
  'before-offset-commit': { title: 'after all, before the offset commit', events: 1, requests: 1 },
};
const places = Object.keys(windows) as Place[];

// Scenarios wait for session timeouts and outages; a busy machine adds to that.
jest.setTimeout(150_000);

describe('A service killed in a crash window', () => {
  let setting: Setting;
  const scenarios = new Scenarios<Place | 'lost answer'>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const place of places) scenarios.start(place, async () => killThere(await setting.world(), place));
    scenarios.start('lost answer', () => loseAnswers(setting));
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(places.map((place) => [windows[place].title, place] as const))('%s', async (_title, place) => {
    await scenarios.result(place);
  });

  it('goes on by what the ledger says when the answer to COMMIT is lost', () =>
    scenarios.result('lost answer'));
});

async function killThere(world: CrashWorld, place: Place): Promise<void> {
  const pointOn = (on: 'events' | 'requests'): FailPoint => ({
    place,
    on,
    nth: windows[place][on],
    action: 'kill',
  });
  await world.publish(Array.from({ length: 60 }, (_, n) => ({ id: `event-${n}`, partition: n % 2 })));
  await world.start('first', { failPoint: pointOn('events') }).killed();
  expect(await violations(world, 'mid-work')).toEqual([]);

  const ids = Array.from({ length: 24 }, (_, n) => `request-${n}`);
  const answers = Promise.all(ids.map((id) => world.request({ id })));
  await world.start('second', { failPoint: pointOn('requests') }).killed();
  expect(await violations(world, 'mid-work')).toEqual([]);

  world.start('third');
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

async function loseAnswers(setting: Setting): Promise<void> {
  const cutter = new CommitCutter(setting.databaseUrl, 4, 16);
  try {
    const world = await setting.world({ serviceDatabaseUrl: await cutter.start() });
    // One counted failure would be the end of a record.
    world.start('service', { attempts: 1 });
    await world.publish(Array.from({ length: 300 }, (_, n) => ({ id: `event-${n}`, partition: n % 2 })));
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
