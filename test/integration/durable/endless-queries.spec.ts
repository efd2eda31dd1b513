import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

/** Runs of the handler, and what Postgres still does for them. */
describe('a handler whose query does not end', () => {
  let world: DurableWorld;
  let runs: number;

  beforeEach(async () => {
    world = await DurableWorld.create();
    runs = 0;
  });

  afterEach(() => world.dispose());

  const sleeping = async () => {
    const rows = await world.query(
      `select 1 from pg_stat_activity where state = 'active' and query like 'select pg_sleep(600) -- ${world.schema}'`,
    );
    return rows.length;
  };

  /** Its first run sleeps in SQL. */
  function sleeper() {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        const { client } = this.durable;
        await world.write(client, id);
        if (++runs === 1) await client.query(`select pg_sleep(600) -- ${world.schema}`);
      }
    }
    return Handlers;
  }

  it('is tried again after handlerTimeout, and its query is canceled', async () => {
    await world.start({ controllers: [sleeper()], server: { handlerTimeout: 3_000 } });
    world.kafka.produce('t', { value: 'once' });
    await world.consumed('t');
    expect(runs).toBe(2);
    expect(await world.effects()).toEqual(['once']);
    await eventually(async () => (await sleeping()) === 0);
  });

  it('does not hold up a shutdown, and its query is canceled', async () => {
    await world.start({ controllers: [sleeper()], server: { shutdownTimeout: 300 } });
    world.kafka.produce('t', { value: 'once' });
    await eventually(async () => (await sleeping()) === 1);
    await world.closeAll();
    await eventually(async () => (await sleeping()) === 0);
    expect(await world.effects()).toEqual([]);
    await world.start({ controllers: [sleeper()] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['once']);
  });

  it('ends when its partition is lost, and the next owner goes on', async () => {
    const server = { consumer: { groupId: 'tests', heartbeatInterval: 50, rebalanceTimeout: 500 } };
    await world.start({ controllers: [sleeper()], server });
    world.kafka.produce('t', { value: 'once' });
    await eventually(async () => (await sleeping()) === 1);
    for (const id of world.kafka.group('tests-server').memberIds) world.kafka.faults.expel(id);
    await world.consumed('t');
    expect(await world.effects()).toEqual(['once']);
    await eventually(async () => (await sleeping()) === 0);
  });
});
