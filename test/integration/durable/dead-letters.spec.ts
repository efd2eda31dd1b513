import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { Durable, KafkaTerminalException } from '../../../lib/index.js';
import { DurableWorld, headerText } from '../../support/durable-app.js';

const KEYS = ['a', 'b', 'c', 'd'];

describe('dead letters of handlers that run at once', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  it.each(['claim', 'transaction'] as const)('are each of its own record, in %s mode', async (mode) => {
    @Controller()
    class Handlers {
      @Durable({ mode })
      @EventPattern('t')
      run(@Payload() id: string): Promise<void> {
        return Promise.reject(new KafkaTerminalException(`not ${id}`));
      }
    }
    world.kafka.createTopic('t', 1);
    world.kafka.produce('t', ...KEYS.map((key) => ({ key, value: `value of ${key}` })));
    await world.start({
      controllers: [Handlers],
      server: { deadLetter: true, ordering: 'key', groupCommit: { concurrent: true } },
    });
    await world.consumed('t');
    const letters = world.kafka.records('t.dlt');
    expect(letters.map(({ value }) => String(value)).sort()).toEqual(KEYS.map((key) => `value of ${key}`));
    const ids = letters.map((letter) => headerText(letter, 'message-id'));
    expect(new Set(ids).size).toBe(KEYS.length);
    expect(letters.map((letter) => headerText(letter, 'dlt-exception-message')).sort()).toEqual(
      KEYS.map((key) => `not value of ${key}`),
    );
    expect(headerText(letters[0]!, 'dlt-exception-class')).toBe('KafkaTerminalException');
    const dead = await world.query<{ record_value: Buffer }>(
      'select record_value from {schema}.dead_letters',
    );
    expect(dead.map(({ record_value }) => String(record_value)).sort()).toEqual(
      KEYS.map((key) => `value of ${key}`),
    );
  });
});
