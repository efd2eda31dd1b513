import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { CrashWorld } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';

// Scenarios wait for session timeouts and outages; a busy machine adds to that.
jest.setTimeout(150_000);

describe('What comes again', () => {
  let setting: Setting;
  const scenarios = new Scenarios<'rewound' | 'twins'>();

  beforeAll(async () => {
    setting = await Setting.open();
    scenarios.start('rewound', async () => rewind(await setting.world()));
    scenarios.start('twins', async () =>
      handleTwins(await setting.world({ partitions: 4, withoutCaller: true })),
    );
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it('does not run again after a rewind to 0, nor after the group was deleted', () =>
    scenarios.result('rewound'));
  it('has one effect for one key on four partitions at once, on two instances', () =>
    scenarios.result('twins'));
});

async function rewind(world: CrashWorld): Promise<void> {
  const first = await world.start('first').ready();
  await world.publish(Array.from({ length: 200 }, (_, n) => ({ id: `event-${n}`, partition: n % 2 })));
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => world.request({ id: `request-${n}` })),
  );
  await world.settled();
  await first.stop();

  const { events, requests } = world.topics;
  const start = [events, requests].flatMap((topic) =>
    [0, 1].map((partition) => ({ topic, partition, offset: 0n })),
  );
  await world.admin.setCommitted(world.groupId, start);
  expect(await world.lag()).toBeGreaterThan(0);
  const second = world.start('second');
  await world.settled();
  await second.stop();

  await world.admin.deleteGroup(world.groupId);
  expect(await world.lag()).toBeGreaterThan(0);
  const third = world.start('third');
  await world.settled();

  expect(await violations(world, 'settled')).toEqual([]);
  expect(await world.count(`instance <> 'first'`)).toBe(0);
  expect(await Promise.all(answers.map((_, n) => world.request({ id: `request-${n}` })))).toEqual(answers);
  await third.stop();
  expect(third.exitCode === 0 || third.signalled === 'SIGTERM').toBe(true);
}

async function handleTwins(world: CrashWorld): Promise<void> {
  await Promise.all([world.start('a').ready(), world.start('b').ready()]);
  const keys = Array.from({ length: 60 }, (_, n) => `event-${n}`);
  await world.publish(
    [0, 1, 2, 3].flatMap((partition) =>
      // Half of the partitions have the keys in the opposite order.
      (partition % 2 ? keys : keys.toReversed()).map((id) => ({
        id,
        partition,
        idempotencyKey: id,
        millis: 5,
      })),
    ),
  );
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
  expect(await world.count()).toBe(keys.length);
}
