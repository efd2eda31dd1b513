import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TcpProxy } from '../support/tcp-proxy.js';
import type { CrashWorld } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { Scenarios } from './support/scenarios.js';
import type { ServiceProcess } from './support/service-process.js';
import { Setting } from './support/setting.js';
import { PATIENCE, until } from './support/until.js';

/** Kafka's time to find out by itself that a member is dead. */
const sessionTimeout = 180_000;
/** By this time others must have gone on: far less, and yet plenty for a busy machine. */
const soon = sessionTimeout / 3;
const partitions = 4;

describe('Fail-over long before the session timeout', () => {
  let setting: Setting;
  const scenarios = new Scenarios<'survivor' | 'restart' | 'cut off'>();

  beforeAll(async () => {
    setting = await Setting.open();
    const inWorld = (run: (world: CrashWorld) => Promise<void>) => async () =>
      run(await setting.world({ partitions, withoutCaller: true }));
    scenarios.start('survivor', inWorld(killOneOfTwo));
    scenarios.start('restart', inWorld(restart));
    scenarios.start('cut off', () => cutOff(setting));
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it('goes to the survivor when one of two instances is killed', () => scenarios.result('survivor'));
  it('goes to the restarted instance', () => scenarios.result('restart'));
  it('goes on elsewhere when an instance is cut off from the database, which is back later and did nothing twice', () =>
    scenarios.result('cut off'));
});

const options = { sessionTimeout, handlerMillis: 5 };

/** Publishes to all partitions; `done` resolves when the handlers have run, and fails if that takes too long. */
async function publish(
  world: CrashWorld,
  count: number,
): Promise<{ done(by: ServiceProcess): Promise<void> }> {
  const before = await published(world);
  await world.publish(
    Array.from({ length: count }, (_, n) => ({ id: `event-${before + n}`, partition: n % partitions })),
  );
  return {
    done: (by) =>
      until(
        `${before + count} events to be done`,
        async () => (await world.count()) >= before + count,
        soon,
        () => by.describe(),
      ),
  };
}

async function published(world: CrashWorld): Promise<number> {
  const watermarks = await world.admin.watermarks(world.topics.events);
  return watermarks.reduce((sum, { high }) => sum + Number(high), 0);
}

/** Both have their share of the partitions. */
async function sharing(world: CrashWorld, ...services: ServiceProcess[]): Promise<void> {
  await until(
    'all to work',
    async () => {
      await (await publish(world, 8)).done(services[0]!);
      const rows = await world.query<{ instance: string }>(
        'select instance from {effects}.effect order by seq desc limit 8',
      );
      return new Set(rows.map(({ instance }) => instance)).size === services.length;
    },
    PATIENCE,
    () => services.map((service) => service.describe()).join('\n'),
  );
}

async function killOneOfTwo(world: CrashWorld): Promise<void> {
  const [victim, survivor] = [world.start('victim', options), world.start('survivor', options)];
  await victim.ready();
  await survivor.ready();
  await sharing(world, victim, survivor);
  const work = await publish(world, 400);
  await victim.kill();
  await work.done(survivor);
  await until(
    'the dead to be forgotten',
    async () => (await world.query('select 1 from {ledger}.members')).length === 1,
  );
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
}

async function restart(world: CrashWorld): Promise<void> {
  const victim = await world.start('victim', options).ready();
  await sharing(world, victim);
  const work = await publish(world, 200);
  await victim.kill();
  await work.done(world.start('restarted', options));
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
}

async function cutOff(setting: Setting): Promise<void> {
  let away = false;
  const verdict = () => (away ? ('cut' as const) : ('pass' as const));
  const url = new URL(setting.databaseUrl);
  const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) || 5432 }, () => ({
    fromClient: verdict,
    fromServer: verdict,
  }));
  try {
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    const world = await setting.world({ partitions, withoutCaller: true });
    const victim = await world.start('cut off', { ...options, databaseUrl: url.href }).ready();
    const other = await world.start('other', options).ready();
    await sharing(world, other, victim);
    const work = await publish(world, 400);
    away = true;
    proxy.cut();
    // What the member that comes back is given rests with it, until it has its database again.
    await until(
      'the other to say so',
      () => other.logged('was taken out of the group'),
      soon,
      () => other.describe(),
    );
    away = false;
    await work.done(other);
    await sharing(world, other, victim);
    await world.settled();
    expect(await violations(world, 'settled')).toEqual([]);
    expect(victim.running).toBe(true);
  } finally {
    await proxy.close();
  }
}
