import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';

describe('a handler that changes the role of its connection', () => {
  let world: DurableWorld;
  let attempts: string[];

  beforeEach(async () => {
    world = await DurableWorld.create();
    attempts = [];
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    constructor(private readonly durable: DurableExecution) {}

    @EventPattern('publishing')
    async publish(@Payload() sql: string) {
      attempts.push(sql);
      await this.durable.emit('out', { value: sql });
      await this.writeAs(sql);
    }

    @EventPattern('t')
    async writeAs(@Payload() sql: string) {
      await world.write(this.durable.client, sql);
      await this.durable.client.query(sql);
    }
  }

  const role = 'pg_read_all_data';

  it('and leaves it so has failed where the ledger has still to write, and is told what to do', async () => {
    const sql = `set local role ${role}`;
    await world.start({ controllers: [Handlers] });
    world.kafka.produce('publishing', { value: sql }, { value: `${sql}; reset role` }, { value: 'select 1' });
    await world.consumed('publishing');
    expect(await world.effects()).toEqual([`${sql}; reset role`, 'select 1']);
    expect(await world.executions()).toMatchObject([{ state: 'dead', attempts: 3, record_offset: '0' }]);
    expect(world.log.lines.filter((line) => line.startsWith('error')).join()).toContain('send RESET ROLE');
  });

  it('for the rest of its session has that connection replaced', async () => {
    const sql = `set role ${role}`;
    await world.start({ controllers: [Handlers], server: { groupCommit: false } });
    world.kafka.produce('t', { value: sql }, { value: 'select 1' }, { value: sql }, { value: 'select 2' });
    await world.consumed('t');
    expect(await world.effects()).toEqual([sql, 'select 1', sql, 'select 2']);
    const left = await world.query<{ count: number }>(
      `select count(*)::int as count from {schema}.executions where state <> 'completed'`,
    );
    expect(left).toEqual([{ count: 0 }]);
  });
});
