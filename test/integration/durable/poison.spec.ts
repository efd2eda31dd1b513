import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution } from '../../../lib/index.js';
import { DurableWorld, headerText } from '../../support/durable-app.js';

const GOOD = 2_000;
const POISON = 777;

describe('a poison record between two thousand good ones', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
    const values = Array.from({ length: GOOD + 1 }, (_, id) => ({ value: `${id}`, partition: 0 }));
    world.kafka.produce('t', ...values);
  });

  afterEach(() => world.dispose());

  const good = Array.from({ length: GOOD + 1 }, (_, id) => `${id}`).filter((id) => id !== `${POISON}`);

  it.each([
    ['in groups', undefined],
    ['each in a transaction of its own', false as const],
  ])('is dead in the ledger, and the others are done in order, %s', async (_how, groupCommit) => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (id === `${POISON}`) throw new Error('poison');
      }
    }
    await world.start({ controllers: [Handlers], server: { deadLetter: true, groupCommit } });
    await world.consumed('t');
    expect(await world.effects()).toEqual(good);
    expect(await world.executions()).toMatchObject([
      { state: 'dead', attempts: 3, record_offset: `${POISON}` },
    ]);
    expect(world.kafka.records('t.dlt')).toHaveLength(1);
  });

  it('is published as dead where the handler is not durable, and the others are done in order', async () => {
    const seen: string[] = [];

    @Controller()
    class Handlers {
      @EventPattern('t')
      run(@Payload() id: string) {
        if (id === `${POISON}`) throw new Error('poison');
        seen.push(id);
      }
    }
    await world.start({ controllers: [Handlers], durable: false, server: { deadLetter: true } });
    await world.consumed('t');
    expect(seen).toEqual(good);
    const letters = world.kafka.records('t.dlt');
    expect(letters.map((letter) => headerText(letter, 'dlt-original-offset'))).toEqual([`${POISON}`]);
  });
});
