import { Controller, UseFilters } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import pg from 'pg';
import {
  DurableExecution,
  DurableModule,
  KafkaMaxRetryExceptionFilter,
  type KafkaTransportOptions,
} from '../../../lib/index.js';
import { headerOf } from '../../support/broker-fixture.js';
import { eventually } from '../../support/eventually.js';
import { KafkaApps } from '../../support/kafka-app.js';
import { databaseUrl } from '../../support/ledger-schema.js';
import { reaches } from '../../support/reaches.js';

/** Two thousand; where each of them takes several commits, enough for many groups and fetches. */
const GOOD = { transaction: 2_000, claim: 500 };
const POISON = 377;
const KEYS = 50;
/** The poison has a key that others have too. */
const keyOf = (id: number) => id % KEYS;

describe('a poison record between many good ones, on real servers', () => {
  let world: KafkaApps;
  let pool: pg.Pool;
  let schema: string;
  let topic: string;
  let group: string;
  let broken: boolean;
  let runs: number;
  let skipped: number;

  beforeEach(async () => {
    world = await new KafkaApps().connect();
    pool = new pg.Pool({ connectionString: databaseUrl(), max: 2 });
    schema = world.schema();
    topic = await world.topic('poison');
    group = world.group();
    broken = true;
    runs = 0;
    skipped = 0;
    await pool.query(`create schema ${schema}; create table ${schema}.effect (seq bigserial, id int)`);
  });

  afterEach(async () => {
    await world.dispose();
    await pool.end();
  });

  const filtered = (filter: KafkaMaxRetryExceptionFilter | undefined): MethodDecorator =>
    filter ? (UseFilters(filter) as MethodDecorator) : () => undefined;

  const start = async (
    mode: 'transaction' | 'claim',
    server: KafkaTransportOptions,
    filter?: KafkaMaxRetryExceptionFilter,
  ) => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @filtered(filter)
      @EventPattern<string>(topic)
      async run(@Payload() value: string) {
        const id = Number(value);
        const insert = `insert into ${schema}.effect (id) values ($1)`;
        if (mode === 'transaction') await this.durable.client.query(insert, [id]);
        if (id === POISON) {
          runs++;
          if (broken) throw new TypeError('poison');
        }
        if (mode === 'claim') {
          await this.durable.transaction('write', (client) => client.query(insert, [id]).then(() => null));
        }
      }
    }
    await world.start({
      controllers: [Handlers],
      imports: [DurableModule.forRoot({ connection: databaseUrl(), schema, mode, fastFailover: false })],
      server: {
        consumer: { groupId: group },
        retry: { attempts: 3, initial: 1, max: 20 },
        ...server,
      },
    });
  };

  const effects = async () => {
    const { rows } = await pool.query<{ id: number }>(`select id from ${schema}.effect order by seq`);
    return rows.map(({ id }) => id);
  };
  const expectOrder = async (wanted: readonly number[], ordering: string) => {
    const found = await effects();
    const of = (list: readonly number[], key: number) => list.filter((id) => keyOf(id) === key);
    if (ordering === 'partition') expect(found).toEqual(wanted);
    expect(found).toHaveLength(wanted.length);
    for (let key = 0; key < KEYS; key++) expect(of(found, key)).toEqual(of(wanted, key));
  };
  const endings = async () =>
    (
      await pool.query(
        `select state, attempts, record_offset from ${schema}.executions where state not in ('completed', 'claimed')`,
      )
    ).rows as unknown[];

  const modes = (['transaction', 'claim'] as const).flatMap((mode) =>
    (['partition', 'key'] as const).map((ordering) => [mode, ordering] as const),
  );

  describe.each(modes)('in %s mode, ordered by %s', (mode, ordering) => {
    const ids = Array.from({ length: GOOD[mode] + 1 }, (_, id) => id);
    const good = ids.filter((id) => id !== POISON);
    const consumed = () => world.consumed(group, topic, ids.length);

    beforeEach(() =>
      world.produce(
        ...ids.map((id) => ({
          topic,
          key: Buffer.from(`${keyOf(id)}`),
          value: Buffer.from(`${id}`),
          headers: [],
        })),
      ),
    );

    it('is dead in ledger and topic, and the others are done in order', async () => {
      await start(mode, { ordering, deadLetter: true });
      await consumed();
      await expectOrder(good, ordering);
      expect(runs).toBeGreaterThanOrEqual(3);
      expect(await endings()).toEqual([{ state: 'dead', attempts: 3, record_offset: `${POISON}` }]);
      const letters = await world.read(`${topic}.dlt`);
      expect(letters.map((letter) => headerOf(letter, 'dlt-original-offset'))).toEqual([`${POISON}`]);
      expect(letters.map((letter) => headerOf(letter, 'dlt-attempts'))).toEqual(['3']);
    });

    it('holds its partition or key where it is to block, and goes on when it is healed', async () => {
      await start(mode, { ordering, onExhausted: 'block' });
      const before =
        ordering === 'partition'
          ? good.filter((id) => id < POISON)
          : good.filter((id) => keyOf(id) !== keyOf(POISON) || id < POISON);
      await reaches(before.length, async () => (await effects()).length);
      await eventually(() => runs > 4);
      await expectOrder(before, ordering);
      expect(await world.committed(group, topic)).toBeLessThanOrEqual(POISON);
      expect(await endings()).toEqual([]);
      broken = false;
      await consumed();
      await expectOrder(ids, ordering);
    });

    it('is skipped by a filter that limits its failures, and the others are done in order', async () => {
      const filter = new KafkaMaxRetryExceptionFilter(2, () => Promise.resolve(void skipped++));
      await start(mode, { ordering }, filter);
      await consumed();
      await expectOrder(good, ordering);
      expect(skipped).toBe(1);
      expect(await endings()).toEqual([{ state: 'skipped', attempts: 2, record_offset: `${POISON}` }]);
    });
  });
});
