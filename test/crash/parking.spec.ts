import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Place, ServiceSettings } from './children/service-settings.js';
import type { CrashWorld } from './support/crash-world.js';
import { Scenarios } from './support/scenarios.js';
import type { ServiceProcess } from './support/service-process.js';
import { Setting } from './support/setting.js';
import { until } from './support/until.js';

const KEYS = ['a', 'b', 'c', 'bad'];
const ROUNDS = 6;

/** Where a service is killed while the records of a key are parked. */
const parking: Partial<Record<Place, string>> = {
  'before-parking': 'before the first is parked',
  'after-parking': 'after the first is parked, before anybody knows',
  'after-postponing': 'after a parked one has failed again',
};
/** And while they are drained. */
const draining: Partial<Record<Place, string>> = {
  'after-claim': 'before the handler is called',
  'in-handler': 'in the handler',
  'after-commit': 'after the commit, before what it emitted is produced',
  'after-ack': 'after that is acknowledged, before it is noted',
};
const drained = { 'after-claim': 2, 'in-handler': 3, 'after-commit': 2, 'after-ack': ROUNDS } as const;

describe('Parked records, whose service is killed', () => {
  let setting: Setting;
  const scenarios = new Scenarios<Place>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const place of Object.keys(parking) as Place[]) {
      scenarios.start(place, async () => killParking(await published(setting), place));
    }
    for (const place of Object.keys(drained) as (keyof typeof drained)[]) {
      scenarios.start(place, async () => killDraining(await published(setting), place, drained[place]));
    }
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(Object.entries(parking) as [Place, string][])(
    'keep their order and have their effects once (%s)',
    (place) => scenarios.result(place),
  );

  it.each(Object.entries(draining) as [Place, string][])('are drained once, in order (%s)', (place) =>
    scenarios.result(place),
  );
});

async function published(setting: Setting): Promise<CrashWorld> {
  const world = await setting.world({ withoutCaller: true });
  await world.publish(
    Array.from({ length: ROUNDS }, (_, round) =>
      KEYS.map((key, index) => ({
        id: `${key}:${round}`,
        key,
        partition: index % 2,
        isPoison: key === 'bad',
      })),
    ).flat(),
  );
  return world;
}

function start(world: CrashWorld, instance: string, settings: Partial<ServiceSettings> = {}): ServiceProcess {
  return world.start(instance, { onExhausted: 'park', attempts: 2, ...settings });
}

const letters = async (world: CrashWorld) =>
  (await world.query('select 1 from {ledger}.parked_letters')).length;

async function killParking(world: CrashWorld, place: Place): Promise<void> {
  await start(world, 'first', { failPoint: { place, on: 'events', nth: 1, action: 'kill' } }).killed();
  await parkAll(world, 'second');
  start(world, 'healed', { healed: true });
  await expectDrained(world);
}

async function killDraining(world: CrashWorld, place: Place, nth: number): Promise<void> {
  await parkAll(world, 'failing');
  const failPoint = { place, on: 'events', nth, action: 'kill' } as const;
  await start(world, 'first', { healed: true, failPoint }).killed();
  start(world, 'second', { healed: true });
  await expectDrained(world);
}

/** All that is well is done, and the rest waits. */
async function parkAll(world: CrashWorld, instance: string): Promise<void> {
  const service = start(world, instance);
  await world.settled();
  expect(await letters(world)).toBe(ROUNDS);
  expect(await world.count(`id like 'bad:%'`)).toBe(0);
  expect(await world.count()).toBe((KEYS.length - 1) * ROUNDS);
  await service.kill();
}

async function expectDrained(world: CrashWorld): Promise<void> {
  await until('the last letter', async () => (await letters(world)) === 0);
  expect(await world.query('select 1 from {ledger}.parked_head')).toEqual([]);
  const rows = await world.query<{ id: string }>('select id from {effects}.effect order by seq');
  for (const key of KEYS) {
    const own = rows.map(({ id }) => id).filter((id) => id.startsWith(`${key}:`));
    expect(own).toEqual(Array.from({ length: ROUNDS }, (_, round) => `${key}:${round}`));
  }
}
