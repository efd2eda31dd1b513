import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Durable, DurableExecution } from '../../../lib/index.js';
import { DurableWorld, headerText, valueOf } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { writer } from '../../support/writer.js';

describe('the identity of a handler', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  it('refuses to start when two handlers would share a name, and with it their executions', async () => {
    const start = world.start({ controllers: [writer(world), writer(world)] });
    await expect(start).rejects.toThrow(/Handlers\.run.*@Durable\(\{ name/);
  });

  it('takes the name given to handlers whose class and method are named the same', async () => {
    const handlers = (name: string) => {
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @Durable({ name })
        @EventPattern('t')
        run(@Payload() id: string) {
          return world.write(this.durable.client, `${name} ${id}`);
        }
      }
      return Handlers;
    };
    world.kafka.produce('t', { value: '1' });
    await world.start({ controllers: [handlers('one'), handlers('two')] });
    await eventually(async () => (await world.effects()).length === 2);
    expect((await world.effects()).sort()).toEqual(['one 1', 'two 1']);
  });

  it('has one method run once where several of its patterns match a topic', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern(['topic', /^top/])
      run(@Payload() id: string) {
        return world.write(this.durable.client, id);
      }
    }
    world.kafka.produce('topic', { value: '1' }, { value: '2', headers: { 'idempotency-key': 'k' } });
    await world.start({ controllers: [Handlers] });
    await world.consumed('topic');
    expect(await world.effects()).toEqual(['1', '2']);
  });

  it('is one where the interceptor is bound twice, by the module and by @Durable()', async () => {
    let broken = true;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ key: (message) => message.value.id as string })
      @MessagePattern('ask')
      async answer(@Payload() { id }: { id: string }) {
        await world.write(this.durable.client, id);
        await this.durable.emit('told', id);
        if (broken) throw new Error('broken');
        return { id };
      }
    }
    world.request('ask', { id: 'a' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(headerText(world.replies('ask')[0]!, 'kafka_nest-err')).toBeDefined();
    broken = false;
    world.request('ask', { id: 'a' });
    await world.consumed('ask');
    expect(valueOf(world.replies('ask')[1]!)).toEqual({ id: 'a' });
    expect(await world.effects()).toEqual(['a']);
    await eventually(() => world.kafka.records('told').length > 0);
    expect(world.kafka.records('told')).toHaveLength(1);
  });
});
