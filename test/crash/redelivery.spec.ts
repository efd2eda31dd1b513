import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ServiceSettings } from './children/service-settings.js';
import type { CrashWorld } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';

const modes = ['transaction', 'claim'] as const;
type Mode = (typeof modes)[number];

describe('What comes again', () => {
  let setting: Setting;
  const scenarios = new Scenarios<`${'rewound' | 'twins'} ${Mode}`>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const mode of modes) {
      scenarios.start(`rewound ${mode}`, async () => rewind(await setting.world(), { mode }));
      scenarios.start(`twins ${mode}`, async () =>
        handleTwins(await setting.world({ partitions: 4, withoutCaller: true }), { mode }),
      );
    }
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  describe.each(modes)('in %s mode', (mode) => {
    it('does not run again after a rewind to 0, nor after the group was deleted', () =>
      scenarios.result(`rewound ${mode}`));
    it('has one effect for one key on four partitions at once, on two instances', () =>
      scenarios.result(`twins ${mode}`));
  });
});

async function rewind(world: CrashWorld, settings: Partial<ServiceSettings>): Promise<void> {
  const first = await world.start('first', settings).ready();
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
  const second = world.start('second', settings);
  await world.settled();
  await second.stop();

  await world.admin.deleteGroup(world.groupId);
  expect(await world.lag()).toBeGreaterThan(0);
  const third = world.start('third', settings);
  await world.settled();

  expect(await violations(world, 'settled')).toEqual([]);
  expect(await world.count(`instance <> 'first'`)).toBe(0);
  expect(await Promise.all(answers.map((_, n) => world.request({ id: `request-${n}` })))).toEqual(answers);
  await third.stop();
  expect(third.exitCode === 0 || third.signalled === 'SIGTERM').toBe(true);
}

async function handleTwins(world: CrashWorld, settings: Partial<ServiceSettings>): Promise<void> {
  await Promise.all([world.start('a', settings).ready(), world.start('b', settings).ready()]);
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
