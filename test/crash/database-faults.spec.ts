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
const outage = 60_000;
const held = 'Work is held';

// Scenarios wait for session timeouts and outages; a busy machine adds to that.
jest.setTimeout(150_000);

describe('Trouble with Postgres: nothing lost, nothing dead, no attempt counted, work goes on by itself', () => {
  let setting: Setting;
  const scenarios = new Scenarios<
    | 'stopped'
    | 'crashed'
    | 'terminated'
    | 'pool'
    | 'limit'
    | 'read-only'
    | 'lock-timeout'
    | 'statement-timeout'
    | 'storm'
    | 'deadlock'
  >();

  beforeAll(async () => {
    setting = await Setting.open();
    scenarios.start('stopped', () => stopServer(setting));
    scenarios.start('crashed', () => crashServer(setting));
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
    scenarios.start('lock-timeout', within(outwaitLocks));
    scenarios.start('statement-timeout', within(cancelStatements));
    scenarios.start('storm', within(storm));
    scenarios.start('deadlock', within(deadlock));
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it('stopped for 60 s in mid-stream', () => scenarios.result('stopped'));
  it('crashed and restarted at once, again and again', () => scenarios.result('crashed'));
  it('connections ended in mid-transaction', () => scenarios.result('terminated'));
  it('all connections of the pool taken', () => scenarios.result('pool'));
  it('no more connections for the role', () => scenarios.result('limit'));
  it('read-only for a while', () => scenarios.result('read-only'));
  it('a lock_timeout, and a table of the handlers locked', () => scenarios.result('lock-timeout'));
  it('a statement_timeout, and a table of the ledger locked', () => scenarios.result('statement-timeout'));
  it('a storm of serialization failures and deadlocks raised inside handlers', () =>
    scenarios.result('storm'));
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

async function stopServer(setting: Setting): Promise<void> {
  const { postgres, databaseUrl } = await setting.ownServers('postgres');
  const world = await setting.world({ databaseUrl });
  const service = await world.start('service', { attempts, handlerMillis: 5 }).ready();
  await streamWhile(world, async () => {
    await until('work to be under way', async () => (await world.count()) > 30);
    await postgres.stop('fast');
    await sleep(outage);
    expect(service.running).toBe(true);
    await postgres.start();
    await sleep(1_000);
  });
  await world.settled();
  expect(await violations(world, 'settled')).toEqual([]);
}

/** An immediate shutdown: what was not flushed is lost, and recovery takes place at the next start. */
async function crashServer(setting: Setting): Promise<void> {
  const { postgres, databaseUrl } = await setting.ownServers('postgres');
  const world = await setting.world({ databaseUrl });
  const service = await world.start('service', { attempts, handlerMillis: 5 }).ready();
  await streamWhile(world, async () => {
    for (let crash = 0; crash < 4; crash++) {
      const before = await world.count();
      await until('work to be under way', async () => (await world.count()) > before + 20);
      await postgres.stop('kill');
      await postgres.start();
      expect(service.running).toBe(true);
    }
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

/** What handlers write waits for a lock longer than their role may: 55P03 in their own statements. */
async function outwaitLocks(world: CrashWorld, database: PrivateDatabase): Promise<void> {
  await lockWhileTimingOut(world, database, 'lock_timeout', '{effects}.effect');
}

/** The server cancels what the ledger sends: 57014, and no handler is to blame. */
async function cancelStatements(world: CrashWorld, database: PrivateDatabase): Promise<void> {
  await lockWhileTimingOut(world, database, 'statement_timeout', '{ledger}.execution');
}

async function lockWhileTimingOut(
  world: CrashWorld,
  database: PrivateDatabase,
  setting: 'lock_timeout' | 'statement_timeout',
  table: string,
): Promise<void> {
  const service = await world.start('service', { attempts, handlerMillis: 5 }).ready();
  await streamWhile(world, async () => {
    await until('work to be under way', async () => (await world.count()) > 30);
    await database.alter('role', `set ${setting} = '500ms'`);
    const done = await world.count();
    await until('work to go on', async () => (await world.count()) > done);
    const rollbacks = await database.rollbacks();
    await world.locking(table, () =>
      until(
        'transactions to fail',
        async () => (await database.rollbacks()) >= rollbacks + 4,
        20_000,
        () => service.describe(),
      ),
    );
  });
}

/** Half of all runs fail, for a while: in one record more often than there are attempts, or in its whole group. */
async function storm(world: CrashWorld): Promise<void> {
  await world.query(`
    create sequence {effects}.runs;
    create function {effects}.maybe_fail() returns void language plpgsql as $$
    declare
      -- A sequence remembers what is rolled back.
      run bigint := nextval('{effects}.runs');
    begin
      if run <= 300 and run % 2 = 0 then
        raise exception 'made up' using errcode = (array['40001', '40P01', '55P03'])[run / 2 % 3 + 1];
      end if;
    end $$`);
  await world.query('grant all on all sequences in schema {effects} to public');
  await world.start('service', { attempts }).ready();
  const sql = `select ${world.effectSchema}.maybe_fail()`;
  await world.publish(
    Array.from({ length: 200 }, (_, n) => ({
      id: `event-${n}`,
      partition: n % 2,
      ...(n % 3 > 0 && { sql }),
    })),
  );
  await world.settled();
  const [runs] = await world.query<{ n: number }>('select last_value::int as n from {effects}.runs');
  expect(runs!.n).toBeGreaterThan(250);
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
