import pg from 'pg';
import { BrokerFixture, brokers, headerOf } from '../../support/broker-fixture.js';
import { eventually } from '../../support/eventually.js';
import { databaseUrl } from '../../support/ledger-schema.js';
import { Program } from '../../support/program.js';
import { SETTINGS_VARIABLE, type LifecycleSettings } from './children/settings.js';

const program = new URL('../../dist/test/integration/lifecycle/children/service.js', import.meta.url);
const COUNT = 120;
const fixture = new BrokerFixture();
const client = new pg.Client({ connectionString: databaseUrl() });
const started: Program[] = [];

beforeAll(async () => {
  await fixture.connect();
  await client.connect();
});

afterAll(async () => {
  for (const each of started) each.kill('SIGKILL');
  await client.end();
  await fixture.dispose();
});

async function createSettings(handlerMillis: number, shutdownTimeout: number): Promise<LifecycleSettings> {
  const schema = fixture.schema();
  await client.query(`create schema "${schema}"; create table "${schema}".effect (id text)`);
  return {
    ...{ brokers: brokers(), databaseUrl: databaseUrl(), schema, handlerMillis, shutdownTimeout },
    group: fixture.group(),
    topics: {
      durable: await fixture.topic('durable'),
      plain: await fixture.topic('plain'),
      requests: await fixture.topic('requests', { reply: true }),
    },
  };
}

async function start(settings: LifecycleSettings): Promise<Program> {
  const service = new Program(program, { [SETTINGS_VARIABLE]: JSON.stringify(settings) });
  started.push(service);
  await service.printed('LISTENING');
  return service;
}

async function effects({ schema }: LifecycleSettings): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(`select id from "${schema}".effect`);
  return rows.map(({ id }) => id);
}

function produce(topic: string, count: number, headers: [string, Buffer][] = []): Promise<void> {
  const records = Array.from({ length: count }, (_, index) => ({
    ...{ topic, key: null, value: Buffer.from(String(index)) },
    headers: headers.map(
      ([name, value]) => [name, name.endsWith('Id') ? Buffer.from(`${index}`) : value] as const,
    ),
  }));
  return fixture.produce(...records);
}

/** 0, or the signal that Nest raises again when its hooks are done. */
function expectOrderlyEnd({ code, signal, output }: Program): void {
  expect(code === 0 || signal === 'SIGTERM').toBe(true);
  expect(output).not.toContain('UNHANDLED');
  expect(output).not.toContain('ERROR');
}

it('SIGTERM in mid-work: handlers finish, offsets say exactly that, the next process goes on', async () => {
  // Twelve seconds of work, so that some is left when the signal comes, and time enough to end a record of it.
  const settings = await createSettings(100, 30_000);
  const { topics, group } = settings;
  await Promise.all([
    produce(topics.durable, COUNT),
    produce(topics.plain, COUNT),
    produce(topics.requests, COUNT, [
      ['kafka_correlationId', Buffer.alloc(0)],
      ['kafka_replyTopic', Buffer.from(`${topics.requests}.reply`)],
      ['kafka_replyPartition', Buffer.from('0')],
    ]),
  ]);
  const first = await start(settings);
  await first.printed('DURABLE 10\n');
  const began = performance.now();
  first.kill('SIGTERM');
  await first.end();
  expect(performance.now() - began).toBeLessThan(settings.shutdownTimeout + 3_000);
  expectOrderlyEnd(first);

  const done = await effects(settings);
  expect(done.length).toBeGreaterThan(9);
  expect(done.length).toBeLessThan(COUNT);
  expect(await fixture.committed(group, topics.durable)).toBe(done.length);
  const plain = first.lines.filter((line) => line.startsWith('PLAIN')).length;
  expect(await fixture.committed(group, topics.plain)).toBe(plain);
  const replies = await fixture.read(`${topics.requests}.reply`);
  expect(await fixture.committed(group, topics.requests)).toBe(replies.length);
  expect(await fixture.members(`${group}-server`)).toBe(0);

  const second = await start({ ...settings, handlerMillis: 0 });
  await Promise.all([second.printed(`DURABLE ${COUNT - 1}\n`), second.printed(`PLAIN ${COUNT - 1}\n`)]);
  second.kill('SIGTERM');
  await second.end();
  expectOrderlyEnd(second);
  expect((await effects(settings)).sort()).toEqual(
    Array.from({ length: COUNT }, (_, index) => `${index}`).sort(),
  );
  const again = second.lines.filter((line) => line.startsWith('PLAIN')).length;
  expect(plain + again).toBe(COUNT);
  const ids = (await fixture.read(`${topics.requests}.reply`)).map((reply) =>
    headerOf(reply, 'kafka_correlationId'),
  );
  expect(new Set(ids).size).toBe(ids.length);
});

it('SIGTERM while handlers do not end: they are given up at shutdownTimeout, rolled back and run again', async () => {
  const settings = await createSettings(600_000, 1_000);
  const { topics, group } = settings;
  await Promise.all([produce(topics.durable, 3), produce(topics.plain, 3)]);
  const stuck = await start(settings);
  // Its transaction is open once the handler has written.
  await eventually(async () => {
    const { rows } = await client.query(
      `select 1 from pg_stat_activity where query like $1 and state <> 'active'`,
      [`%"${settings.schema}".effect%`],
    );
    return rows.length > 0;
  });
  const began = performance.now();
  stuck.kill('SIGTERM');
  // Its handlers would take ten minutes.
  await stuck.end();
  expect(performance.now() - began).toBeGreaterThan(900);
  expect(performance.now() - began).toBeLessThan(settings.shutdownTimeout + 3_000);
  expect(stuck.code === 0 || stuck.signal === 'SIGTERM').toBe(true);
  expect(stuck.output).not.toContain('UNHANDLED');
  expect(await effects(settings)).toEqual([]);
  expect(await fixture.committed(group, topics.durable)).toBeLessThanOrEqual(0);
  expect(await fixture.committed(group, topics.plain)).toBeLessThanOrEqual(0);
  expect(await fixture.members(`${group}-server`)).toBe(0);

  const next = await start({ ...settings, handlerMillis: 0 });
  await Promise.all([next.printed('DURABLE 2\n'), next.printed('PLAIN 2\n')]);
  next.kill('SIGTERM');
  await next.end();
  expect(await effects(settings)).toEqual(['0', '1', '2']);
});
