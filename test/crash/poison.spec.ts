import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { FailureWindow } from './children/service-settings.js';
import type { CrashWorld } from './support/crash-world.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';
import { readTopics } from './support/topic-reader.js';
import { PATIENCE, until } from './support/until.js';

const EVENTS = 40;
const POISON = 'event-17';
const ATTEMPTS = 3;

/** Where a service is killed while a record fails for good. */
const giveUp: Partial<Record<FailureWindow, string>> = {
  'after-failure': 'after a failure is noted',
  'before-ending': 'before the ending is written',
  'after-ending': 'after the ending is written, before the dead letter is produced',
  'after-letter': 'after the dead letter is acknowledged, before that is noted',
};
/** And while it is put back. */
const putBack: Partial<Record<FailureWindow, string>> = {
  'before-redrive': 'before it is put back',
  'after-redrive': 'after that is committed, before the record is produced',
};

describe('A poison record, whose service is killed', () => {
  let setting: Setting;
  const scenarios = new Scenarios<FailureWindow>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const place of Object.keys(giveUp) as FailureWindow[]) {
      scenarios.start(place, async () => killGivingUp(await poisoned(setting), place));
    }
    for (const place of Object.keys(putBack) as FailureWindow[]) {
      scenarios.start(place, async () => killPuttingBack(await poisoned(setting), place));
    }
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(Object.entries(giveUp) as [FailureWindow, string][])(
    'is dead once, and the others are done in order (%s)',
    (place) => scenarios.result(place),
  );

  it.each(Object.entries(putBack) as [FailureWindow, string][])(
    'is put back, and has its effect once (%s)',
    (place) => scenarios.result(place),
  );
});

async function poisoned(setting: Setting): Promise<CrashWorld> {
  const world = await setting.world({ withoutCaller: true });
  await world.admin.createTopics([{ topic: `${world.topics.events}.dlt`, partitions: 1 }]);
  await world.publish(
    Array.from({ length: EVENTS }, (_, n) => ({
      id: `event-${n}`,
      partition: n % 2,
      isPoison: `event-${n}` === POISON,
    })),
  );
  return world;
}

async function killGivingUp(world: CrashWorld, place: FailureWindow): Promise<void> {
  const failPoint = { place, on: 'events', nth: 1, action: 'kill' } as const;
  await world.start('first', { attempts: ATTEMPTS, failPoint }).killed();
  world.start('second', { attempts: ATTEMPTS });
  await world.settled();
  await expectDeadOnce(world);
  await expectEffects(world, false);
}

async function killPuttingBack(world: CrashWorld, place: FailureWindow): Promise<void> {
  const failing = world.start('failing', { attempts: ATTEMPTS });
  await world.settled();
  await expectDeadOnce(world);
  await failing.kill();
  const failPoint = { place, on: 'events', nth: 1, action: 'kill' } as const;
  const first = await world.start('first', { attempts: ATTEMPTS, healed: true, failPoint }).ready();
  first.tell('redrive');
  await first.killed();
  const second = await world.start('second', { attempts: ATTEMPTS, healed: true }).ready();
  second.tell('redrive');
  await second.hasTold(place === 'before-redrive' ? 'redriven 1, done 0' : 'redriven 0, done 1');
  // What the first one committed to the outbox is produced by a sweep.
  await until(
    'the effect of what was put back',
    async () => (await world.count(`id = '${POISON}'`)) > 0,
    PATIENCE,
    () => second.describe(),
  );
  second.tell('redrive');
  await world.settled();
  await expectEffects(world, true);
}

async function expectDeadOnce(world: CrashWorld): Promise<void> {
  const dead = await world.query(
    `select state, attempts from {ledger}.executions where state <> 'completed'`,
  );
  expect(dead).toEqual([{ state: 'dead', attempts: ATTEMPTS }]);
  const letters = await readTopics(world.kafka, [`${world.topics.events}.dlt`]);
  // Produced again, perhaps, but it is one letter by its ids.
  expect(letters.length).toBeGreaterThan(0);
  const ids = new Set(letters.map(({ headers }) => headers['message-id']));
  expect(ids.size).toBe(1);
  expect(letters[0]!.headers).toMatchObject({ 'dlt-attempts': String(ATTEMPTS), 'dlt-reason': 'exhausted' });
}

async function expectEffects(world: CrashWorld, withPoison: boolean): Promise<void> {
  const rows = await world.query<{ id: string; partition: number }>(
    'select id, partition from {effects}.effect order by seq',
  );
  const all = Array.from({ length: EVENTS }, (_, n) => `event-${n}`);
  const good = all.filter((id) => id !== POISON);
  for (const partition of [0, 1]) {
    const found = rows.filter((row) => row.partition === partition && row.id !== POISON).map(({ id }) => id);
    expect(found).toEqual(good.filter((id) => Number(id.slice(6)) % 2 === partition));
  }
  expect(rows.filter(({ id }) => id === POISON)).toHaveLength(withPoison ? 1 : 0);
}
