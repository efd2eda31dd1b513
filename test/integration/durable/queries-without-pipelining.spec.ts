import { Controller } from '@nestjs/common';
import { EventPattern } from '@nestjs/microservices';
import type { Submittable } from 'pg';
import { DurableExecution } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { databaseUrl } from '../../support/ledger-schema.js';

describe('queries of a class of their own, such as cursors', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  it.each([
    [false, 'run in the message’s transaction where the connection does not pipeline', ['one']],
    [true, 'are refused by pg where it does', []],
  ] as const)('with pipeline %s %s', async (pipeline, _, effects) => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern<string>('t')
      async handle() {
        const text = `insert into "${world.schema}".effect (text) values ('one')`;
        await new Promise<void>((resolve, reject) => {
          this.durable.client.query({
            submit: (connection: { query(text: string): void }) => connection.query(text),
            handleCommandComplete: () => undefined,
            handleReadyForQuery: () => resolve(),
            handleError: reject,
          } as unknown as Submittable);
        });
      }
    }
    world.kafka.produce('t', { value: '1' });
    await world.start({
      controllers: [Handlers],
      durable: { connection: { connectionString: databaseUrl(), pipeline } },
    });
    await world.consumed('t');
    expect(await world.effects()).toEqual(effects);
    expect((await world.executions()).map(({ state }) => state)).toEqual(effects.length > 0 ? [] : ['dead']);
  });
});
