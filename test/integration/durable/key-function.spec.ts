import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { Durable, DurableExecution } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';

/** A binary format: the id's length, the id, the rest. */
function encode(id: string, text: string): Buffer {
  return Buffer.concat([Buffer.from([id.length]), Buffer.from(id), Buffer.from(text)]);
}

function decode(bytes: Buffer): { id: string; text: string } {
  const end = 1 + bytes[0]!;
  return { id: bytes.toString('latin1', 1, end), text: bytes.toString('utf8', end) };
}

describe('A key function over a binary format', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  it('gets the bytes under keepBinary, as the deserializer does', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ key: (message) => decode(message.value as Buffer).id })
      @EventPattern('t')
      run(@Payload() { text }: { text: string }) {
        return world.write(this.durable.client, `${this.durable.key}: ${text}`);
      }
    }
    for (const id of ['a', 'b', 'a']) world.kafka.produce('t', { value: encode(id, 'once') });
    const deserializer = {
      deserialize: (message: { value: Buffer }) => ({ pattern: 't', data: decode(message.value) }),
    };
    await world.start({
      controllers: [Handlers],
      server: { parser: { keepBinary: true }, deserializer: deserializer as never },
    });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['a: once', 'b: once']);
  });
});
