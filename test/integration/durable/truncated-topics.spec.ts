import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { writer } from '../../support/writer.js';

const reported = 'offset 3 does not exist (any more), reading goes on at 7';

describe('records that the broker deleted before durable handlers had them', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  const produce = (from: number, below: number) => {
    for (let id = from; id < below; id++) world.kafka.produce('t', { value: `${id}` });
  };
  const fence = async () => (await world.query('select next_offset::int as next from {schema}.fences'))[0];

  it.each(['partition', 'key'] as const)(
    'are told of, and nothing else is skipped (ordering %s)',
    async (ordering) => {
      produce(0, 3);
      await world.start({ controllers: [writer(world)], server: { ordering } });
      await world.consumed('t');
      await world.closeAll();
      expect(world.log.matching('does not exist')).toEqual([]);

      produce(3, 10);
      world.kafka.truncate('t', 0, 7n);
      await world.start({ controllers: [writer(world)], server: { ordering } });
      await world.consumed('t');
      const told = world.log.matching(reported);
      expect(told).toHaveLength(1);
      expect(told[0]).toMatch(/^error t\[0\]: .*retention/);
      expect((await world.effects()).sort()).toEqual(['0', '1', '2', '7', '8', '9']);
      await eventually(async () => (await fence())?.['next'] === 10);
    },
  );
});
