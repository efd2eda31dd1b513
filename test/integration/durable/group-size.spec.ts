import { DurableWorld } from '../../support/durable-app.js';
import { PostgresProxy } from '../../support/postgres-proxy.js';
import { writer } from '../../support/writer.js';

describe('the groups of a durable handler', () => {
  let world: DurableWorld;
  let proxy: PostgresProxy;

  beforeEach(async () => {
    world = await DurableWorld.create();
    proxy = await PostgresProxy.start();
  });

  afterEach(async () => {
    await world.dispose();
    await proxy.stop();
  });

  it('hold many records where Postgres is so slow that one takes longer than a group should', async () => {
    const records = 240;
    for (let id = 0; id < records; id++) {
      world.kafka.produce('t', { value: `${id}`, headers: { 'idempotency-key': `k${id}` } });
    }
    proxy.delay = 8;
    await world.start({ controllers: [writer(world)], durable: { connection: proxy.url } });
    await world.consumed('t');
    expect(await world.effects()).toHaveLength(records);
    const [row] = await world.query<{ transactions: number }>(
      'select count(distinct xmin::text)::int as transactions from {schema}.effect',
    );
    // The first groups hold one record each, until it is known what is slow.
    expect(row!.transactions).toBeLessThan(records / 2);
  });
});
