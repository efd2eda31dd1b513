import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import { KafkaDeliveryContext, KafkaTerminalException, NotDurable } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';

describe.each(['durable', 'not durable'] as const)('dead letters of handlers that are %s', (kind) => {
  let world: DurableWorld;
  let seen: string[];

  beforeEach(async () => {
    world = await DurableWorld.create();
    seen = [];
  });

  afterEach(() => world.dispose());

  const mark: ClassDecorator = kind === 'durable' ? () => undefined : (NotDurable() as ClassDecorator);

  @mark
  @Controller()
  class OfPattern {
    @EventPattern<RegExp>(/^order\./g)
    fail(@Payload() _: unknown, @Ctx() context: KafkaDeliveryContext) {
      seen.push(context.getTopic());
      throw new KafkaTerminalException('never', 'no-use');
    }
  }

  it.each([true, 'order.letters'] as const)(
    'do not come back to the pattern that matches their topic: deadLetter %s',
    async (deadLetter) => {
      const letters = deadLetter === true ? 'order.a.dlt' : deadLetter;
      for (const topic of ['order.a', 'order.b', letters]) world.kafka.createTopic(topic, 1);
      world.kafka.produce('order.a', { value: '1' });
      await world.start({ controllers: [OfPattern], server: { deadLetter } });
      await world.consumed('order.a');
      expect(world.kafka.records(letters)).toHaveLength(1);
      // What comes now is handled after anything that would have come back.
      world.kafka.produce('order.b', { value: '2' });
      await world.consumed('order.b');
      expect(seen).toEqual(['order.a', 'order.b']);
      expect(world.kafka.committed('tests-server', letters)).toMatchObject([{ offset: -1n }]);
    },
  );

  @mark
  @Controller()
  class OfLetters {
    @EventPattern<string>('letters')
    fail(@Payload() value: unknown) {
      seen.push(String(value));
      throw new KafkaTerminalException('never', 'no-use');
    }
  }

  it('whose own handler fails stay where they are', async () => {
    world.kafka.createTopic('letters', 1);
    world.kafka.produce('letters', { value: '1' }, { value: '2' });
    await world.start({ controllers: [OfLetters], server: { deadLetter: 'letters' } });
    await world.consumed('letters');
    expect(seen).toEqual(['1', '2']);
    expect(world.kafka.records('letters')).toHaveLength(2);
  });
});
