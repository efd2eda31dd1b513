import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { CrashWorld } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { PrivateDatabase } from './support/private-database.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';
import { until } from './support/until.js';

/** One failure that is counted, and a record is dead: nothing of all this may count. */
const attempts = 1;
const outage = 20_000;
const held = 'Work is held';

// Scenarios wait for session timeouts and outages; a busy machine adds to that.
jest.setTimeout(150_000);

describe('Trouble with Postgres: nothing lost, nothing dead, no attempt counted, work goes on by itself', () => {
  let setting: Setting;
  const scenarios = new Scenarios<
    'stopped' | 'crashed' | 'terminated' | 'pool' | 'limit' | 'read-only' | 'raised' | 'deadlock'
  >();

  beforeAll(async () => {
    setting = await Setting.open();
    scenarios.start('stopped', () => stopServer(setting, 'fast'));
    scenarios.start('crashed', () => stopServer(setting, 'kill'));
    const within = (run: (world: CrashWorld, database: PrivateDatabase) => Promise<void>) => async () => {
      const database = await PrivateDatabase.create(setting.databaseUrl);
      const world = await setting.world({ databaseUrl: database.ownerUrl, serviceDatabaseUrl: database.url });
      try {
        await world.query(`grant all on schema {effects} to ${database.name}`);
        await world.query(`grant all on all tables in schema {effects} to ${database.name}`);
        await run(world, database);
        await world.settled();
        expect(await violations(world, 'settled')).toEqual([]);
      } finally {
        await world.dispose();
        await database.drop();
      }
    };
    scenarios.start('terminated', within(terminateBackends));
    scenarios.start('pool', within(exhaustPool));
    scenarios.start(
      'limit',
      within((world, database) =>
        refuseWork(world, database, 'role', 'connection limit 0', 'connection limit -1'),
      ),
    );
    scenarios.start(
      'read-only',
      within((world, database) =>
        refuseWork(
          world,
          database,
          'database',
          'set default_transaction_read_only = on',
          'reset default_transaction_read_only',
        ),
      ),
    );
    scenarios.start('raised', within(raiseInHandlers));
    scenarios.start('deadlock', within(deadlock));
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it('stopped for 20 s in mid-stream', () => scenarios.result('stopped'));
  it('crashed for 20 s in mid-stream', () => scenarios.result('crashed'));
  it('connections ended in mid-transaction', () => scenarios.result('terminated'));
  it('all connections of the pool taken', () => scenarios.result('pool'));
  it('no more connections for the role', () => scenarios.result('limit'));
  it('read-only for a while', () => scenarios.result('read-only'));
  it('serialization failures and deadlocks raised inside handlers', () => scenarios.result('raised'));
  it('two handlers that deadlock', () => scenarios.result('deadlock'));
});

/** Judged when all are awaited, not before. */
function request(world: CrashWorld, id: string): Promise<unknown[]> {
  const answer = world.request({ id });
  answer.catch(() => undefined);
  return answer;
}

/** Publishes until `during` has ended. */
async function streamWhile(world: CrashWorld, during: () => Promise<void>): Promise<void> {
  let going = true;
  const ended = during().finally(() => (going = false));
  const answers: Promise<unknown[]>[] = [];
  for (let n = 0; going; n += 10) {
    await world.publish(Array.from({ length: 10 }, (_, m) => ({ id: `event-${n + m}`, partition: m % 2 })));
    if (n % 50 === 0) answers.push(request(world, `request-${n}`));
    await sleep(100);
  }
  await ended;
  for (const values of await Promise.all(answers)) expect(values).toHaveLength(1);
}

async function stopServer(setting: Setting, how: 'fast' | 'kill'): Promise<void> {
  const { postgres, databaseUrl } = await setting.ownServers('postgres');
  const world = await setting.world({ databaseUrl });
  const service = await world.start('service', { attempts, handlerMillis: 5 }).ready();
  await streamWhile(world, async () => {
    await until('work to be under way', async () => (await world.count()) > 30);
    await postgres.stop(how);
    await sleep(outage);
    expect(service.running).toBe(true);
    await postgres.start();
    await sleep(1_000);
  });
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
}

async function terminateBackends(world: CrashWorld, database: PrivateDatabase): Promise<void> {
  const service = await world.start('service', { attempts, handlerMillis: 30 }).ready();
  await streamWhile(world, async () => {
    for (let round = 0; round < 5; round++) {
      await until(
        'a transaction to be open',
        async () => (await database.endConnections(`state = 'idle in transaction'`)) > 0,
        20_000,
        () => service.describe(),
      );
      await sleep(300);
    }
  });
}

async function exhaustPool(world: CrashWorld): Promise<void> {
  const service = await world.start('service', { attempts }).ready();
  await streamWhile(world, async () => {
    await until('work to be under way', async () => (await world.count()) > 30);
    service.tell('hog pool');
    await service.hasTold('hogged');
    await until(
      'work to be held',
      () => service.logged(held),
      20_000,
      () => service.describe(),
    );
    service.tell('release pool');
  });
}

async function refuseWork(
  world: CrashWorld,
  database: PrivateDatabase,
  what: 'role' | 'database',
  trouble: string,
  remedy: string,
): Promise<void> {
  const service = await world.start('service', { attempts }).ready();
  await streamWhile(world, async () => {
    await until('work to be under way', async () => (await world.count()) > 30);
    await database.alter(what, trouble);
    await until(
      'work to be held',
      () => service.logged(held),
      20_000,
      () => service.describe(),
    );
    await sleep(2_000);
    // Connections that were opened meanwhile are as they are.
    await world.query(`alter ${what} ${database.name} ${remedy}`);
  });
}

async function raiseInHandlers(world: CrashWorld): Promise<void> {
  await world.query(`
    create function {effects}.fail(code text, times int, runs text) returns void language plpgsql as $$
    begin
      -- A sequence remembers what is rolled back.
      if nextval(runs::regclass) <= times then raise exception 'made up' using errcode = code; end if;
    end $$`);
  const codes = ['40P01', '40001', '55P03', '40001'];
  for (const n of codes.keys()) await world.query(`create sequence {effects}.runs_${n}`);
  await world.query('grant all on all sequences in schema {effects} to public');
  await world.start('service', { attempts }).ready();
  const schema = world.effectSchema;
  await world.publish(
    Array.from({ length: 40 }, (_, n) => {
      const code = n % 10 === 5 ? codes[(n - 5) / 10] : undefined;
      const sql = code && `select ${schema}.fail('${code}', 4, '${schema}.runs_${(n - 5) / 10}')`;
      return { id: `event-${n}`, partition: n % 2, sql };
    }),
  );
}

async function deadlock(world: CrashWorld, database: PrivateDatabase): Promise<void> {
  await world.query('create table {effects}.counter (k int primary key, n int)');
  await world.query('insert into {effects}.counter values (1, 0), (2, 0)');
  await world.query(`grant all on {effects}.counter to ${database.name}`);
  await world.start('service', { attempts, maxRecords: 1 }).ready();
  const add = (k: number) => `update ${world.effectSchema}.counter set n = n + 1 where k = ${k};`;
  await world.publish(
    Array.from({ length: 6 }, (_, n) => {
      const [first, second] = n % 2 ? [1, 2] : [2, 1];
      return {
        id: `event-${n}`,
        partition: n % 2,
        sql: `${add(first)} select pg_sleep(0.2); ${add(second)}`,
      };
    }),
  );
  await world.settled();
  expect(await world.query('select n from {effects}.counter')).toEqual([{ n: 6 }, { n: 6 }]);
}
