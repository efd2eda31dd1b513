import { Controller, type Type } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { outOfRange } from '../../../lib/consumption/consumer.messages.js';
import { DurableExecution } from '../../../lib/index.js';
import { DurableWorld, SERVER_GROUP } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { writer } from '../../support/writer.js';

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
      const reported = outOfRange('t[0]', 3n, 7n);
      expect(world.log.matching('offset')).toEqual([]);

      produce(3, 10);
      world.kafka.truncate('t', 0, 7n);
      await world.start({ controllers: [writer(world)], server: { ordering } });
      await world.consumed('t');
      expect(world.log.matching(reported)).toEqual([`error ${reported}`]);
      expect((await world.effects()).sort()).toEqual(['0', '1', '2', '7', '8', '9']);
      await eventually(async () => (await fence())?.['next'] === 10);
    },
  );
});

describe('a log that lost its end, with other records at the offsets of those that durable handlers had', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  /** Every other one with a key of its own. */
  const produce = (...values: string[]) => {
    values.forEach((value, n) => {
      const headers = n % 2 === 0 ? {} : { 'idempotency-key': value };
      world.kafka.produce('t', { value, headers });
    });
  };
  const OLD = ['old-0', 'old-1', 'old-2', 'old-3'];
  const LOST = ['the same', 'lost-1', 'lost-2', 'lost-3'];
  const NEW = ['the same', 'new-1', 'new-2', 'new-3', 'new-4', 'new-5'];

  describe.each([
    { ordering: 'partition', mode: 'transaction' },
    { ordering: 'key', mode: 'transaction' },
    { ordering: 'none', mode: 'transaction' },
    { ordering: 'partition', mode: 'claim' },
    { ordering: 'key', mode: 'claim' },
  ] as const)('ordering $ordering, $mode mode', ({ ordering, mode }) => {
    const start = (...controllers: Type[]) =>
      world.start({ controllers, server: { ordering }, durable: { mode } });
    const fences = async () => {
      const rows = await world.query(
        `select next_offset::int as next from {schema}.fences where topic_id = (
           select topic_id from {schema}.fences order by next_offset desc limit 1)`,
      );
      return rows.map((row) => row['next']);
    };

    it('has all of them handled, once, when the service starts: more than were lost', async () => {
      produce(...OLD, ...LOST);
      await start(stepWriter(world));
      await world.consumed('t');
      await world.closeAll();

      world.kafka.loseEnd('t', 0, 4n);
      produce(...NEW);
      await start(stepWriter(world));
      await eventually(async () => (await world.effects()).length === OLD.length + LOST.length + NEW.length);
      await world.consumed('t');
      expect((await world.effects()).sort()).toEqual([...OLD, ...LOST, ...NEW].sort());
      const reported = outOfRange('t[0]', 8n, 4n);
      expect(world.log.matching(reported)).toEqual([`error ${reported}`]);
      expect(world.log.matching('the broker has lost those from 4 on')).toHaveLength(1);
      await eventually(async () => (await fences()).includes(10));

      await world.closeAll();
      await start(stepWriter(world));
      produce('last');
      await eventually(async () => (await world.effects()).includes('last'));
      expect(await world.effects()).toHaveLength(OLD.length + LOST.length + NEW.length + 1);
    });

    it('has all of them handled, once, where the offset of the group was set back before the loss', async () => {
      produce(...OLD, ...LOST);
      await start(stepWriter(world, 'first'), stepWriter(world, 'second'));
      await world.consumed('t');
      await world.rewind('t', 2n);

      world.kafka.loseEnd('t', 0, 4n);
      produce(...NEW);
      await start(stepWriter(world, 'first'), stepWriter(world, 'second'));
      await world.consumed('t');
      const both = [...OLD, ...LOST, ...NEW].flatMap((value) => [`first ${value}`, `second ${value}`]);
      expect((await world.effects()).sort()).toEqual(both.sort());
      expect(world.log.matching('offset out of range')).toEqual([]);
      expect(world.log.matching('the broker has lost those from 4 on')).toHaveLength(2);

      await world.rewind('t');
      await start(stepWriter(world, 'first'), stepWriter(world, 'second'));
      await world.consumed('t');
      expect(await world.effects()).toHaveLength(both.length);
    });

    it('has all of them handled, once, after a crash before the offset was committed', async () => {
      produce(...OLD, ...LOST);
      const run = { autoCommitInterval: 1_000_000 };
      await world.start({ controllers: [stepWriter(world)], server: { ordering, run }, durable: { mode } });
      await eventually(async () => (await world.effects()).length === OLD.length + LOST.length);
      const [member] = world.kafka.group(SERVER_GROUP).memberIds;
      world.kafka.faults.crash(member!);
      world.kafka.faults.expel(member!);
      await world.closeAll();

      world.kafka.loseEnd('t', 0, 4n);
      produce(...NEW);
      await start(stepWriter(world));
      await world.consumed('t');
      expect((await world.effects()).sort()).toEqual([...OLD, ...LOST, ...NEW].sort());
      expect(world.log.matching('the broker has lost those from 4 on')).toHaveLength(1);
    });

    it('takes nothing for lost that was handled under several leaders and not committed', async () => {
      produce(...OLD);
      await start(stepWriter(world));
      await eventually(async () => (await world.effects()).length === OLD.length);
      world.kafka.elect('t', 0);
      produce(...LOST);
      await eventually(async () => (await world.effects()).length === OLD.length + LOST.length);
      world.kafka.elect('t', 0);
      produce(...NEW);
      const all = [...OLD, ...LOST, ...NEW];
      await eventually(async () => (await world.effects()).length === all.length);
      await world.consumed('t');
      await world.rewind('t');
      world.kafka.elect('t', 0);
      await start(stepWriter(world));
      produce('last');
      await eventually(async () => (await world.effects()).includes('last'));
      await world.consumed('t');
      expect((await world.effects()).sort()).toEqual([...all, 'last'].sort());
      expect(world.log.matching('the broker has lost')).toEqual([]);
    });

    it('has all of them handled, once, when it runs: fewer than were lost, and for two handlers', async () => {
      produce(...OLD, ...LOST);
      await start(stepWriter(world, 'first'), stepWriter(world, 'second'));
      await world.consumed('t');

      world.kafka.loseEnd('t', 0, 4n);
      produce(...NEW.slice(0, 3));
      const expected = [...OLD, ...LOST, ...NEW.slice(0, 3)];
      await eventually(async () => (await world.effects()).length === 2 * expected.length);
      await world.consumed('t');
      const both = expected.flatMap((value) => [`first ${value}`, `second ${value}`]);
      expect((await world.effects()).sort()).toEqual(both.sort());
      expect(world.log.matching('the broker has lost those from 4 on')).toHaveLength(2);
    });
  });
});

/** Works in either mode. */
function stepWriter(world: DurableWorld, name?: string): Type {
  @Controller()
  class Handlers {
    constructor(private readonly durable: DurableExecution) {}

    @EventPattern('t')
    run(@Payload() text: string) {
      return this.durable.transaction('write', (client) =>
        world.write(client, name === undefined ? text : `${name} ${text}`),
      );
    }
  }
  Object.defineProperty(Handlers, 'name', { value: `Handlers${name ?? ''}` });
  return Handlers;
}
