import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import pg from 'pg';
import { Durable, DurableExecution, DurableModule, type ExecutionMode } from '../../../lib/index.js';
import { eventually } from '../../support/eventually.js';
import { KafkaApps, type KafkaApp } from '../../support/kafka-app.js';
import { databaseUrl } from '../../support/ledger-schema.js';

const KEYS = 100;
const ROUNDS = 3;
const BAD = 'k42';
const PARTITIONS = 4;

describe.each([
  ['partition', 'transaction'],
  ['key', 'transaction'],
  ['key', 'claim'],
] as const)('parked records on real servers, ordering %s, mode %s', (ordering, mode: ExecutionMode) => {
  let apps: KafkaApps;
  let pool: pg.Pool;
  let schema: string;
  let topic: string;
  let group: string;
  let healed: boolean;

  beforeEach(async () => {
    healed = false;
    apps = await new KafkaApps().connect();
    schema = apps.schema();
    group = apps.group('parking');
    topic = await apps.topic('parking', { partitions: PARTITIONS });
    pool = new pg.Pool({ connectionString: databaseUrl(), max: 2 });
    await pool.query(`create schema "${schema}"; create table "${schema}".effect (seq bigserial, text text)`);
  });

  afterEach(async () => {
    await apps.dispose();
    await pool.end();
  });

  const query = async <R extends pg.QueryResultRow>(text: string) =>
    (await pool.query<R>(text.replaceAll('{schema}', `"${schema}"`))).rows;
  const effects = async () =>
    (await query<{ text: string }>('select text from {schema}.effect order by seq')).map(({ text }) => text);
  const parked = async () => (await query('select * from {schema}.parked_letters')).length;

  function start(): Promise<KafkaApp> {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode, name: 'handlers.run' })
      @EventPattern<string>(topic)
      async run(@Payload() text: string) {
        const write = (client: DurableExecution['client']) =>
          client.query(`insert into "${schema}".effect (text) values ($1)`, [text]);
        if (mode === 'transaction') await write(this.durable.client);
        if (text.startsWith(`${BAD}:`) && !healed) throw new Error('no such account');
        if (mode === 'claim')
          await this.durable.transaction('write', async (client) => void (await write(client)));
      }
    }
    return apps.start({
      imports: [DurableModule.forRoot({ connection: databaseUrl(), schema })],
      controllers: [Handlers],
      server: {
        consumer: { groupId: group },
        ordering,
        onExhausted: 'park',
        retry: { attempts: 2, initial: 1 },
        parking: { retryAfter: 50, factor: 1, attempts: 1_000_000 },
      },
    });
  }

  async function produce(first: number, rounds: number): Promise<void> {
    for (let round = first; round < first + rounds; round++) {
      const keys = Array.from({ length: KEYS }, (_, key) => `k${key}`);
      await apps.produce(
        ...keys.map((key, index) => ({
          topic,
          partition: index % PARTITIONS,
          key: Buffer.from(key),
          value: Buffer.from(`${key}:${round}`),
          headers: [],
        })),
      );
    }
  }

  async function expectAll(rounds: number): Promise<void> {
    const all = await effects();
    for (let key = 0; key < KEYS; key++) {
      const own = all.filter((text) => text.startsWith(`k${key}:`));
      expect(own).toEqual(Array.from({ length: rounds }, (_, round) => `k${key}:${round}`));
    }
    expect(await query('select * from {schema}.parked_head')).toEqual([]);
  }

  it('keep their order through a rebalance and a restart in the middle, while 99 keys are done', async () => {
    await produce(0, ROUNDS);
    const first = await start();
    await eventually(async () => (await effects()).length === (KEYS - 1) * ROUNDS);
    await eventually(async () => (await parked()) === ROUNDS);
    const second = await start();
    await eventually(async () => (await apps.members(`${group}-server`)) === 2);
    await produce(ROUNDS, 1);
    await eventually(async () => (await parked()) === ROUNDS + 1);
    healed = true;
    await first.app.close();
    await produce(ROUNDS + 1, 1);
    await eventually(async () => (await effects()).length === KEYS * (ROUNDS + 2));
    await eventually(async () => (await parked()) === 0);
    await expectAll(ROUNDS + 2);
    await second.app.close();
  });
});
