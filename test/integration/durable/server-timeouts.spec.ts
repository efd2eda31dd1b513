import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import pg from 'pg';
import { DurableExecution, KafkaDeliveryContext } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { databaseUrl } from '../../support/ledger-schema.js';

describe('statements that the server cancels', () => {
  let world: DurableWorld;
  let attempts: number[];

  beforeEach(async () => {
    world = await DurableWorld.create();
    attempts = [];
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    constructor(private readonly durable: DurableExecution) {}

    @EventPattern<string>('t')
    async handle(@Payload() sql: string, @Ctx() context: KafkaDeliveryContext) {
      attempts.push(context.attempt);
      await world.write(this.durable.client, `run ${context.attempt}`);
      await this.durable.client.query(sql);
    }
  }

  const start = (setting: string, server = {}) =>
    world.start({
      controllers: [Handlers],
      server: { retry: { attempts: 2, initial: 1 }, ...server },
      durable: { connection: { connectionString: databaseUrl(), options: `-c ${setting}`, max: 10 } },
    });

  it('by statement_timeout are a failure of the handler that sent them', async () => {
    await start('statement_timeout=1500');
    world.kafka.produce('t', { value: 'select pg_sleep(30)' }, { value: 'select 1' });
    await world.consumed('t');
    expect(attempts).toEqual([1, 2, 1]);
    expect(await world.effects()).toEqual(['run 1']);
    const [dead] = await world.executions();
    expect(dead).toMatchObject({ state: 'dead', attempts: 2, record_offset: '0' });
  });

  it.each([
    ['statement_timeout', 'the ledger sent them', 'execution', [1]],
    ['lock_timeout', 'they waited for somebody', 'effect', expect.arrayContaining([1])],
  ])('by %s are nobody’s failure where %s', async (setting, _why, table, runs) => {
    await start(`${setting}=1500`, { retry: { attempts: 1 } });
    const holder = new pg.Client({ connectionString: databaseUrl() });
    await holder.connect();
    try {
      await holder.query(`begin; lock table "${world.schema}".${table} in access exclusive mode`);
      world.kafka.produce('t', { value: 'select 1' });
      // As many as would have been the end of it.
      const waiting = `select 1 from pg_locks l join pg_class c on c.oid = l.relation
        where c.relnamespace = '"${world.schema}"'::regnamespace and c.relname = '${table}' and not l.granted`;
      for (let round = 0; round < 3; round++) {
        await eventually(async () => (await world.query(waiting)).length > 0);
        await eventually(async () => (await world.query(waiting)).length === 0);
      }
    } finally {
      await holder.end();
    }
    await world.consumed('t');
    expect(new Set(attempts)).toEqual(new Set([1]));
    expect(attempts).toEqual(runs);
    expect(await world.effects()).toEqual(['run 1']);
    expect(await world.query(`select * from {schema}.executions where state <> 'completed'`)).toEqual([]);
  });
});
