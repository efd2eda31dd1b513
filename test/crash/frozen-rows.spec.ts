import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Place, ServiceSettings } from './children/service-settings.js';
import type { CrashWorld, WorldOptions } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';
import { PATIENCE, until } from './support/until.js';

const sessionTimeout = 6_000;
/** After the session's end. */
const takeOver = 10_000;
const partitions = 4;
/** Published at a time. */
const STEP = 40;

interface Frozen {
  readonly place: Place;
  readonly settings?: Partial<ServiceSettings>;
  readonly ofSuccessor?: Partial<ServiceSettings>;
  readonly world?: Partial<WorldOptions>;
}

const frozen = {
  'inside its transaction': { place: 'in-handler' },
  // Its only slot goes to a handler that waits for the row, and not to the partition that was the frozen one's.
  'while its successor works on one partition at a time': {
    place: 'in-handler',
    ofSuccessor: { concurrency: 1 },
  },
  'inside a transaction that shares its lane': { place: 'in-handler', world: { ordering: 'key' } },
  'inside the transaction of a step': { place: 'in-transaction', settings: { mode: 'claim' } },
} satisfies Record<string, Frozen>;
type Title = keyof typeof frozen;
const titles = Object.keys(frozen) as Title[];

describe('A row that handlers of all partitions write', () => {
  let setting: Setting;
  const scenarios = new Scenarios<Title>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const title of titles) {
      const { world, ...settings }: Frozen = frozen[title];
      scenarios.start(title, async () =>
        freeze(await setting.world({ partitions, withoutCaller: true, ...world }), settings),
      );
    }
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(titles)(
    'is not kept from others for more than 10 s after the session of a process that was frozen %s',
    (title) => scenarios.result(title),
  );
});

async function freeze(world: CrashWorld, { place, settings, ofSuccessor }: Frozen): Promise<void> {
  const account = `${world.effectSchema}.account`;
  await world.query(`create table ${account} (booked int)`);
  await world.query(`insert into ${account} values (0)`);
  const options = { sessionTimeout, handlerMillis: 20, ...settings };
  const zombie = world.start('zombie', {
    ...options,
    failPoint: { place, on: 'events', nth: 5, action: 'stop' },
  });
  await zombie.ready();
  const successor = await world.start('successor', { ...options, ...ofSuccessor }).ready();
  let published = 0;
  const publish = async () => {
    const events = Array.from({ length: STEP }, (_, n) => ({
      id: `event-${published + n}`,
      partition: n % partitions,
      sql: `update ${account} set booked = booked + 1`,
    }));
    published += STEP;
    await world.publish(events);
  };
  const done = async () => (await world.count()) >= published;
  await until('the zombie to stop', async () => {
    await publish();
    await until('the next step', async () => zombie.told.includes(place) || (await done()));
    return zombie.told.includes(place);
  });

  const stopped = Date.now();
  await publish();
  await until(
    'the successor to wait for the row',
    async () =>
      (
        await world.query(
          `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'update ${account} %'`,
        )
      ).length > 0,
    PATIENCE,
    () => successor.describe(),
  );
  await until('the successor to do all', done, PATIENCE, () => successor.describe());
  expect(Date.now() - stopped).toBeLessThan(sessionTimeout + takeOver);
  expect(await violations(world, 'mid-work')).toEqual([]);

  zombie.signal('SIGCONT');
  await until(
    'the zombie to be useful again',
    async () => {
      const before = published;
      await publish();
      await until('these to be done', done);
      const later = `split_part(id, '-', 2)::int >= ${before}`;
      return (await world.count(`instance = 'zombie' and ${later}`)) > 0;
    },
    PATIENCE,
    () => zombie.describe(),
  );
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
  const [row] = await world.query<{ booked: number }>(`select booked from ${account}`);
  expect(row!.booked).toBe(published);
}
