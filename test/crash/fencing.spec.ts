import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresLedger } from '../../lib/postgres/postgres-ledger.js';
import type { Place } from './children/service-settings.js';
import type { CrashWorld } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';
import { PATIENCE, until } from './support/until.js';

const sessionTimeout = 6_000;
/** After the session's end: a rebalance, five seconds of patience with whoever holds the fence, and a slow machine. */
const takeOver = 10_000;

const zombies = {
  'before-claim': 'between two groups',
  'in-handler': 'inside its transaction, which holds the fence',
  'after-commit': 'after COMMIT, before what it emitted is produced',
  'before-offset-commit': 'before it commits offsets',
} satisfies Partial<Record<Place, string>>;
type ZombiePlace = keyof typeof zombies;
const places = Object.keys(zombies) as ZombiePlace[];

describe('Fencing', () => {
  let setting: Setting;
  const scenarios = new Scenarios<ZombiePlace | 'late'>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const place of places) {
      scenarios.start(place, async () =>
        stopThere(await setting.world({ partitions: 4, withoutCaller: true }), place),
      );
    }
    scenarios.start('late', async () =>
      fenceFromOutside(await setting.world({ withoutCaller: true }), setting.databaseUrl),
    );
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(places.map((place) => [zombies[place], place] as const))(
    'keeps a process out that was stopped past its session timeout %s, and takes it in again',
    (_title, place) => scenarios.result(place),
  );

  it('lets a rightful owner go on whose fence a late assignee took', () => scenarios.result('late'));
});

async function stopThere(world: CrashWorld, place: ZombiePlace): Promise<void> {
  const zombie = world.start('zombie', {
    sessionTimeout,
    handlerMillis: 20,
    failPoint: { place, on: 'events', nth: place === 'in-handler' ? 5 : 2, action: 'stop' },
  });
  await zombie.ready();
  const successor = await world.start('successor', { sessionTimeout, handlerMillis: 20 }).ready();
  const publish = (from: number, count: number) =>
    world.publish(Array.from({ length: count }, (_, n) => ({ id: `event-${from + n}`, partition: n % 4 })));
  // The zombie's own share is among them; in several steps, for there to be a second offset commit.
  let published = 0;
  await until('the zombie to stop', async () => {
    if (zombie.told.includes(place)) return true;
    await publish(published, 40);
    published += 40;
    await until(
      'the next step',
      async () => zombie.told.includes(place) || (await world.count()) === published,
    );
    return false;
  });

  const stopped = Date.now();
  await until(
    'the successor to do all',
    async () => (await world.count()) === published,
    PATIENCE,
    () => successor.describe(),
  );
  expect(Date.now() - stopped).toBeLessThan(sessionTimeout + takeOver);
  expect(await violations(world, 'mid-work')).toEqual([]);

  zombie.signal('SIGCONT');
  await until(
    'the zombie to be useful again',
    async () => {
      await publish(published, 40);
      published += 40;
      await until('these to be done', async () => (await world.count()) >= published);
      return (
        (await world.count(`instance = 'zombie' and id = any (array(
      select 'event-' || n from generate_series(${published - 40}, ${published}) n))`)) > 0
      );
    },
    PATIENCE,
    () => zombie.describe(),
  );
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
}

/** Takes the fences of a healthy owner, as a member does that learned of a past assignment only now. */
async function fenceFromOutside(world: CrashWorld, databaseUrl: string): Promise<void> {
  const owner = await world.start('owner', { handlerMillis: 10 }).ready();
  const ledger = new PostgresLedger({
    connection: databaseUrl,
    schema: world.ledgerSchema,
    poolSize: 2,
  });
  await ledger.open();
  try {
    const [topic] = await world.admin.describeTopics([world.topics.events]);
    const { topicId } = topic!;
    const scope = { group: world.groupId, handler: 'EffectController.onEvent' };
    const takeFences = () =>
      Promise.all(
        [0, 1].map((partition) =>
          ledger.takeFence({ scope, topic: world.topics.events, topicId, partition }, () =>
            Promise.resolve(true),
          ),
        ),
      );
    const events = (from: number, count: number) =>
      Array.from({ length: count }, (_, n) => ({ id: `event-${from + n}`, partition: n % 2 }));

    await world.publish(events(0, 400));
    for (let done = 20; done <= 300; done += 40) {
      await until(
        'some work',
        async () => (await world.count()) >= done,
        PATIENCE,
        () => owner.describe(),
      );
      await takeFences();
    }
    await world.settled();

    await takeFences();
    await world.publish(events(400, 20));
    await world.settled();
    expect(await world.count()).toBe(420);
    expect(await violations(world, 'settled')).toEqual([]);
  } finally {
    await ledger.close();
  }
}
