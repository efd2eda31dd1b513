import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from '@jest/globals';
import type { ServiceSettings } from '../children/service-settings.js';
import type { CrashWorld } from './crash-world.js';
import { violations } from './invariants.js';
import { PrivateDatabase } from './private-database.js';
import type { Setting } from './setting.js';
import { PATIENCE, until } from './until.js';

type Service = Partial<ServiceSettings>;

/** One failure that is counted, and a record is dead: nothing of all this may count. */
const attempts = 1;
const outage = 60_000;
const held = 'Work is held';
const BACKLOG = 1_000;

/** What goes wrong, by what a test calls it: resolves when all work is done nevertheless. */
export const databaseFaults = {
  'stopped for 60 s in mid-stream': stopServer,
  'crashed and restarted at once, again and again': crashServer,
  'connections ended in mid-transaction': within(terminateBackends),
  'all connections of the pool taken': within(exhaustPool),
  'no more connections for the role': within((world, database, settings) =>
    refuseWork(world, database, settings, 'role', 'connection limit 0', 'connection limit -1'),
  ),
  'read-only for a while': within((world, database, settings) =>
    refuseWork(
      world,
      database,
      settings,
      'database',
      'set default_transaction_read_only = on',
      'reset default_transaction_read_only',
    ),
  ),
  'a lock_timeout, and a table of the handlers locked': within(outwaitLocks),
  'a statement_timeout, and a table of the ledger locked': within(cancelStatements),
  'a storm of serialization failures and deadlocks raised inside handlers': within(storm),
  'two handlers that deadlock': within(deadlock),
} satisfies Record<string, (setting: Setting, settings: Service) => Promise<void>>;

export type DatabaseFault = keyof typeof databaseFaults;

/** Has something happen to a database of a scenario's own. */
function within(
  run: (world: CrashWorld, database: PrivateDatabase, settings: Service) => Promise<void>,
): (setting: Setting, settings: Service) => Promise<void> {
  return async (setting, settings) => {
    const database = await PrivateDatabase.create(setting.databaseUrl);
    const world = await setting.world({ databaseUrl: database.ownerUrl, serviceDatabaseUrl: database.url });
    try {
      await world.query(`grant all on schema {effects} to ${database.name}`);
      await world.query(`grant all on all tables in schema {effects} to ${database.name}`);
      await run(world, database, settings);
      await world.settled();
      expect(await violations(world, 'settled')).toEqual([]);
    } finally {
      await world.dispose();
      await database.drop();
    }
  };
}

/** Judged when all are awaited, not before. */
function request(world: CrashWorld, id: string): Promise<unknown[]> {
  const answer = world.request({ id });
  answer.catch(() => undefined);
  return answer;
}

/** Publishes until `during` has ended, but not while much is outstanding: a busy machine would be at it for long. */
async function streamWhile(world: CrashWorld, during: () => Promise<void>): Promise<void> {
  let going = true;
  const ended = during().finally(() => (going = false));
  const answers: Promise<unknown[]>[] = [];
  for (let n = 0; going; await sleep(100)) {
    if ((await world.lag()) > BACKLOG) continue;
    await world.publish(Array.from({ length: 10 }, (_, m) => ({ id: `event-${n + m}`, partition: m % 2 })));
    if (n % 50 === 0) answers.push(request(world, `request-${n}`));
    n += 10;
  }
  await ended;
  for (const values of await Promise.all(answers)) expect(values).toHaveLength(1);
}

async function stopServer(setting: Setting, settings: Service): Promise<void> {
  const { postgres, databaseUrl } = await setting.ownServers('postgres');
  const world = await setting.world({ databaseUrl });
  const service = await world.start('service', { ...settings, attempts, handlerMillis: 5 }).ready();
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
async function crashServer(setting: Setting, settings: Service): Promise<void> {
  const { postgres, databaseUrl } = await setting.ownServers('postgres');
  const world = await setting.world({ databaseUrl });
  const service = await world.start('service', { ...settings, attempts, handlerMillis: 5 }).ready();
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

async function terminateBackends(
  world: CrashWorld,
  database: PrivateDatabase,
  settings: Service,
): Promise<void> {
  const service = await world.start('service', { ...settings, attempts, handlerMillis: 30 }).ready();
  await streamWhile(world, async () => {
    for (let round = 0; round < 5; round++) {
      await until(
        'a transaction to be open',
        async () => (await database.endConnections(`state = 'idle in transaction'`)) > 0,
        PATIENCE,
        () => service.describe(),
      );
      await sleep(300);
    }
  });
}

async function exhaustPool(world: CrashWorld, _database: PrivateDatabase, settings: Service): Promise<void> {
  const service = await world.start('service', { ...settings, attempts }).ready();
  await streamWhile(world, async () => {
    await until('work to be under way', async () => (await world.count()) > 30);
    service.tell('hog pool');
    await service.hasTold('hogged');
    await until(
      'work to be held',
      () => service.logged(held),
      PATIENCE,
      () => service.describe(),
    );
    service.tell('release pool');
  });
}

async function refuseWork(
  world: CrashWorld,
  database: PrivateDatabase,
  settings: Service,
  what: 'role' | 'database',
  trouble: string,
  remedy: string,
): Promise<void> {
  const service = await world.start('service', { ...settings, attempts }).ready();
  await streamWhile(world, async () => {
    await until('work to be under way', async () => (await world.count()) > 30);
    await database.alter(what, trouble);
    await until(
      'work to be held',
      () => service.logged(held),
      PATIENCE,
      () => service.describe(),
    );
    await sleep(2_000);
    // Connections that were opened meanwhile are as they are.
    await world.query(`alter ${what} ${database.name} ${remedy}`);
  });
}

/** What handlers write waits for a lock longer than their role may: 55P03 in their own statements. */
async function outwaitLocks(world: CrashWorld, database: PrivateDatabase, settings: Service): Promise<void> {
  await lockWhileTimingOut(world, database, settings, 'lock_timeout', '{effects}.effect');
}

/** The server cancels what the ledger sends: 57014, and no handler is to blame. */
async function cancelStatements(
  world: CrashWorld,
  database: PrivateDatabase,
  settings: Service,
): Promise<void> {
  await lockWhileTimingOut(world, database, settings, 'statement_timeout', '{ledger}.execution');
}

async function lockWhileTimingOut(
  world: CrashWorld,
  database: PrivateDatabase,
  settings: Service,
  setting: 'lock_timeout' | 'statement_timeout',
  table: string,
): Promise<void> {
  const service = await world.start('service', { ...settings, attempts, handlerMillis: 5 }).ready();
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
        PATIENCE,
        () => service.describe(),
      ),
    );
  });
}

/** Half of all runs fail, for a while: in one record more often than there are attempts, or in its whole group. */
async function storm(world: CrashWorld, _database: PrivateDatabase, settings: Service): Promise<void> {
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
  await world.start('service', { ...settings, attempts }).ready();
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

async function deadlock(world: CrashWorld, database: PrivateDatabase, settings: Service): Promise<void> {
  await world.query('create table {effects}.counter (k int primary key, n int)');
  await world.query('insert into {effects}.counter values (1, 0), (2, 0)');
  await world.query(`grant all on {effects}.counter to ${database.name}`);
  await world.start('service', { ...settings, attempts, maxRecords: 1 }).ready();
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
