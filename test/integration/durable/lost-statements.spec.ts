import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { TransactionPooler } from '../../support/transaction-pooler.js';

describe('prepared statements that a connection does not have', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    constructor(private readonly durable: DurableExecution) {}

    @EventPattern('t')
    async handle(@Payload() sql: string) {
      await world.write(this.durable.client, sql);
      await this.durable.client.query(sql);
    }
  }

  const hidden = "do $$ begin execute 'deallocate all'; end $$";

  it('since a handler made it forget them are nobody’s failure: another connection takes its place', async () => {
    await world.start({ controllers: [Handlers], server: { groupCommit: false } });
    world.kafka.produce('t', { value: 'select 1' }, { value: hidden }, { value: 'select 2' });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['select 1', hidden, 'select 2']);
    expect((await world.executions()).filter(({ state }) => state !== 'completed')).toEqual([]);
  });

  it('are not deallocated by a handler that does it in plain sight', async () => {
    await world.start({ controllers: [Handlers] });
    world.kafka.produce('t', { value: 'deallocate all' }, { value: 'select 2' });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['select 2']);
    expect(await world.executions()).toMatchObject([{ state: 'dead', error_name: 'UnsupportedError' }]);
  });

  it('behind a pooler that does not follow them keep all records waiting, and the log names the option', async () => {
    // A client's next transaction may be in another session: statements are there already, or not yet.
    const pooler = await TransactionPooler.start(3);
    try {
      const connection = { connectionString: pooler.url, max: 10 };
      await world.start({ controllers: [Handlers], durable: { connection, fastFailover: false } });
      world.kafka.produce('t', ...Array.from({ length: 30 }, (_, i) => ({ value: `select ${i}` })));
      await eventually(() => world.log.lines.some((line) => line.includes('set "prepare: false"')));
      expect((await world.executions()).filter(({ state }) => state === 'dead')).toEqual([]);
      await world.closeAll();
    } finally {
      await pooler.close();
    }
  });
});
