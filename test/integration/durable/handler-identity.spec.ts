import { Controller, UseInterceptors, type Type } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Durable, DurableExecution, DurableInterceptor, DurableLedger } from '../../../lib/index.js';
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

  it('is known where the interceptor is bound to a method or a controller: what died there comes back', async () => {
    let healed = false;
    const onlyIf = (condition: boolean) => {
      if (!condition) throw new Error('not yet');
    };

    @Controller()
    class OneByOne {
      constructor(private readonly durable: DurableExecution) {}

      @UseInterceptors(DurableInterceptor)
      @EventPattern('t')
      async run(@Payload() id: string) {
        onlyIf(healed);
        await world.write(this.durable.client, `method ${id}`);
      }
    }

    @UseInterceptors(DurableInterceptor)
    @Controller()
    class AllOfThem {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        onlyIf(healed);
        await world.write(this.durable.client, `controller ${id}`);
      }
    }
    world.kafka.produce('t', { value: '1' });
    const durable = { global: false };
    const app = await world.start({ controllers: [OneByOne, AllOfThem], durable });
    await world.consumed('t');
    healed = true;
    expect(await app.get(DurableLedger).redrive()).toMatchObject({ redriven: 2, notConsumed: 0 });
    await eventually(async () => (await world.effects()).length === 2);
    expect((await world.effects()).sort()).toEqual(['controller 1', 'method 1']);
    const twins = world.start({ controllers: [OneByOne, namesake(OneByOne)], durable });
    await expect(twins).rejects.toThrow(/both named OneByOne\.run/);
  });
});

/** Another controller of the same name and methods. */
function namesake(controller: Type): Type {
  const method = Object.getOwnPropertyDescriptor(controller.prototype, 'run')!;
  const twin = class {};
  Object.defineProperty(twin, 'name', { value: controller.name });
  Object.defineProperty(twin.prototype, 'run', method);
  Controller()(twin);
  return twin;
}
