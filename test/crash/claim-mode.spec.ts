import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ServiceSettings } from './children/service-settings.js';
import { killThere, loseAnswers, windows, type CrashWindow } from './support/crash-windows.js';
import type { CrashWorld } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';
import { PATIENCE, until } from './support/until.js';

/** One at a time: who is killed has no other handler between a call and its record, where calls are repeated. */
const settings: Partial<ServiceSettings> = { mode: 'claim', lease: 2_000, concurrency: 1 };
/** After the session's end: five seconds of patience, a rebalance, a lease, and a slow machine. */
const takeOver = 10_000;
/** Reached while a handler may run all the same. */
const besideHandlers: readonly CrashWindow[] = ['after-ack', 'before-offset-commit'];
const titles: Partial<Record<CrashWindow, string>> = {
  'in-handler': 'after the steps of a handler, before it returns',
  'after-commit': 'after the completion, before replies and emitted records',
};
const places = Object.keys(windows) as CrashWindow[];

describe('A service in claim mode', () => {
  let setting: Setting;
  const scenarios = new Scenarios<CrashWindow | 'lost answer' | 'zombie' | 'frozen'>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const place of places) {
      scenarios.start(place, async () => {
        const world = await setting.world();
        await killThere(world, place, settings);
        if (!besideHandlers.includes(place)) expect(await repeatedCalls(world)).toEqual([]);
      });
    }
    scenarios.start('lost answer', () => loseAnswers(setting, { ...settings, concurrency: 4 }, 120));
    scenarios.start('frozen', async () => stopInTransaction(await setting.world({ withoutCaller: true })));
    scenarios.start('zombie', async () => stopPastLease(await setting.world({ withoutCaller: true })));
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(places.map((place) => [titles[place] ?? windows[place].title, place] as const))(
    'that is killed %s leaves what another one ends, without repeating a step',
    (_title, place) => scenarios.result(place),
  );

  it('goes on by what the ledger says when the answer to a completion is lost', () =>
    scenarios.result('lost answer'));

  it('that was stopped past its lease and its session stores nothing of what others took over', () =>
    scenarios.result('zombie'));

  it('that is stopped inside the transaction of a step keeps its locks from its successor for 10 s at most', () =>
    scenarios.result('frozen'));
});

/** Ids of messages whose outside call was made more often than once. */
async function repeatedCalls(world: CrashWorld): Promise<string[]> {
  const rows = await world.query<{ id: string }>(
    'select id from {effects}.call group by id having count(*) > 1 order by id',
  );
  return rows.map(({ id }) => id);
}

async function stopPastLease(world: CrashWorld): Promise<void> {
  const zombie = world.start('zombie', {
    ...settings,
    handlerMillis: 20,
    failPoint: { place: 'in-handler', on: 'events', nth: 5, action: 'stop' },
  });
  await zombie.ready();
  await world.publish(Array.from({ length: 60 }, (_, n) => ({ id: `event-${n}`, partition: n % 2 })));
  await zombie.hasTold('in-handler');
  const successor = world.start('successor', { ...settings, handlerMillis: 20 });
  await until(
    'the successor to do all',
    async () => (await world.count()) === 60 && (await world.lag()) === 0,
    PATIENCE,
    () => successor.describe(),
  );
  expect(await violations(world, 'mid-work')).toEqual([]);
  zombie.signal('SIGCONT');
  await world.publish(Array.from({ length: 40 }, (_, n) => ({ id: `later-${n}`, partition: n % 2 })));
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
  expect(await repeatedCalls(world)).toEqual([]);
  const left = await world.query('select 1 from {ledger}.claims');
  expect(left).toEqual([]);
}

async function stopInTransaction(world: CrashWorld): Promise<void> {
  await world.query('create table {effects}.counter (k int primary key, n int)');
  await world.query('insert into {effects}.counter values (0, 0), (1, 0)');
  const zombie = world.start('zombie', {
    ...settings,
    failPoint: { place: 'in-transaction', on: 'events', nth: 5, action: 'stop' },
  });
  await zombie.ready();
  const successor = await world.start('successor', settings).ready();
  // Whoever goes on with its partition needs the row that it has locked.
  const add = (partition: number) =>
    `update ${world.effectSchema}.counter set n = n + 1 where k = ${partition}`;
  const events = (name: string, count: number) =>
    Array.from({ length: count }, (_, n) => ({ id: `${name}-${n}`, partition: n % 2, sql: add(n % 2) }));
  await world.publish(events('event', 30));
  await zombie.hasTold('in-transaction');
  const stopped = Date.now();
  await until(
    'the successor to do all',
    async () => (await world.count()) === 30 && (await world.lag()) === 0,
    PATIENCE,
    () => successor.describe(),
  );
  expect(Date.now() - stopped).toBeLessThan(successor.settings.sessionTimeout + takeOver);
  zombie.signal('SIGCONT');
  await world.publish(events('later', 20));
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
  expect(await world.query('select n from {effects}.counter')).toEqual([{ n: 25 }, { n: 25 }]);
}
