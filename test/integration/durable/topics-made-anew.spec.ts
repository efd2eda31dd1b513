import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution } from '../../../lib/index.js';
import { BrokerFixture } from '../../support/broker-fixture.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { GroupOffsets } from '../../support/group-offsets.js';

describe('a topic made anew while no process lived, whose old offsets the broker kept', () => {
  const offsets = new GroupOffsets();
  let broker: BrokerFixture;
  let world: DurableWorld;

  beforeAll(() => offsets.connect());
  afterAll(() => offsets.disconnect());
  beforeEach(async () => {
    broker = await new BrokerFixture().connect();
    world = await DurableWorld.create();
  });
  afterEach(async () => {
    await world.dispose();
    await broker.dispose();
  });

  it.each([true, false])(
    'has each of its records handled, none taken for an old one (fromBeginning: %s)',
    async (fromBeginning) => {
      const topic = await broker.topic('anew');
      const groupId = broker.group();

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern<string>(topic)
        run(@Payload() text: string) {
          return world.write(this.durable.client, text);
        }
      }
      const start = () =>
        world.start({
          controllers: [Handlers],
          server: { driver: broker.driver, consumer: { groupId }, subscribe: { fromBeginning } },
        });
      const produce = (name: string) => {
        const values = Array.from({ length: 10 }, (_, n) => `${name} ${n}`);
        return broker
          .produce(...values.map((text) => ({ topic, key: null, value: Buffer.from(text), headers: [] })))
          .then(() => values);
      };
      const committed = () => offsets.read(`${groupId}-server`, topic);

      await start();
      const old = await produce('old');
      await eventually(async () => (await committed()).offset === 10n);
      await world.closeAll();
      const { metadata } = await committed();

      const admin = broker.driver.createAdmin();
      await admin.deleteTopics([topic]);
      await admin.disconnect();
      await broker.create([topic]);
      await offsets.write(`${groupId}-server`, { topic, partition: 0, offset: 6n, metadata });
      const anew = await produce('new');
      await start();
      await eventually(async () => (await committed()).offset === 10n);
      expect(await world.effects()).toEqual([...old, ...anew]);
      expect((await committed()).metadata).not.toBe(metadata);
    },
  );
});
