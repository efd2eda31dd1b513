import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Servers } from '../../sample/servers/index.js';
import type { CrashWorld } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';
import { until } from './support/until.js';

const outage = 30_000;
/** One failure that is counted, and a record is dead: nothing of all this may count. */
const attempts = 1;

describe('Trouble with the broker: work goes on by itself, once', () => {
  let setting: Setting;
  const scenarios = new Scenarios<'long' | 'short'>();

  beforeAll(async () => {
    setting = await Setting.open();
    const servers = setting.ownServers('kafka');
    scenarios.start('long', async () => {
      const { kafka, brokers } = await servers;
      await downInMidStream(await setting.world({ brokers }), kafka);
    });
    const others = setting.ownServers('kafka');
    scenarios.start('short', async () => {
      const { kafka, brokers } = await others;
      await restartedTwice(await setting.world({ brokers }), kafka);
    });
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it('killed in mid-stream and down for 30 s: replies and emitted records come afterwards', () =>
    scenarios.result('long'));

  it('killed and restarted at once, then restarted in order', () => scenarios.result('short'));
});

const events = (from: number, count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: `event-${from + n}`, partition: n % 2 }));

async function downInMidStream(world: CrashWorld, kafka: Servers['kafka']): Promise<void> {
  const failPoint = { place: 'after-commit', on: 'requests', nth: 1, action: 'pause' } as const;
  const service = await world.start('service', { attempts, handlerMillis: 20, failPoint }).ready();
  await world.publish(events(0, 400));
  const answers = Promise.all(Array.from({ length: 20 }, (_, n) => world.request({ id: `request-${n}` })));
  let answered = false;
  void answers.then(
    () => (answered = true),
    () => undefined,
  );
  await service.hasTold('after-commit');

  // Committed, and not answered: these replies and what the events emit now find no broker.
  await kafka.stop('kill');
  service.tell('continue');
  await sleep(outage);
  expect(service.running).toBe(true);
  // What had been fetched may all be handled by now; its replies can't have gone anywhere.
  expect(answered).toBe(false);
  await kafka.start();

  expect((await answers).map((values) => values.length)).toEqual(Array.from({ length: 20 }, () => 1));
  expect(await violations(world, 'mid-work')).toEqual([]);
  await world.publish(events(400, 50));
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
  expect(await world.count()).toBe(470);
}

async function restartedTwice(world: CrashWorld, kafka: Servers['kafka']): Promise<void> {
  const service = await world.start('service', { attempts, handlerMillis: 20 }).ready();
  let published = 0;
  for (const how of ['kill', 'fast'] as const) {
    await world.publish(events(published, 200));
    published += 200;
    await until('work to be under way', async () => (await world.count()) > published - 180);
    await kafka.stop(how);
    await kafka.start();
  }
  await world.publish(events(published, 50));
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
  expect(await world.count()).toBe(published + 50);
  expect(service.running).toBe(true);
}
