import { Controller, UseGuards, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { Durable, DurableExecution, NotDurable } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';

describe('several handlers on one topic', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  it('run once each, in an execution of their own', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      first(@Payload() id: string) {
        return world.write(this.durable.client, `first ${id}`);
      }

      @EventPattern('t')
      second(@Payload() id: string) {
        return world.write(this.durable.client, `second ${id}`);
      }
    }
    for (let id = 0; id < 5; id++)
      world.kafka.produce('t', { value: `${id}`, headers: { 'idempotency-key': `${id}` } });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(await world.effects()).toEqual([0, 1, 2, 3, 4].flatMap((id) => [`first ${id}`, `second ${id}`]));
    expect((await world.executions()).map(({ handler, state }) => `${handler} ${state}`)).toHaveLength(10);
  });

  it('do not undo or repeat each other when one of them fails', async () => {
    let failures = 2;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      good(@Payload() id: string) {
        return world.write(this.durable.client, `good ${id}`);
      }

      @EventPattern('t')
      async flaky(@Payload() id: string) {
        await world.write(this.durable.client, `flaky ${id}`);
        if (id === '2' && failures-- > 0) throw new Error('not yet');
      }

      @EventPattern('t')
      async bad(@Payload() id: string) {
        await world.write(this.durable.client, `bad ${id}`);
        if (id === '3') throw new Error('never');
      }
    }
    for (let id = 0; id < 6; id++)
      world.kafka.produce('t', { value: `${id}`, headers: { 'idempotency-key': `${id}` } });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    const effects = await world.effects();
    expect(effects.filter((text) => text.startsWith('good'))).toEqual(
      [0, 1, 2, 3, 4, 5].map((id) => `good ${id}`),
    );
    expect(effects.filter((text) => text.startsWith('flaky'))).toEqual(
      [0, 1, 2, 3, 4, 5].map((id) => `flaky ${id}`),
    );
    expect(effects.filter((text) => text.startsWith('bad'))).toEqual(
      [0, 1, 2, 4, 5].map((id) => `bad ${id}`),
    );
    const dead = (await world.executions()).filter(({ state }) => state !== 'completed');
    expect(dead).toMatchObject([{ handler: 'Handlers.bad', state: 'dead', attempts: 3, record_offset: '3' }]);
  });

  it('keep what one of them has not run yet when a group ends between them', async () => {
    let refusals = 1;

    class SecondOfTwo implements CanActivate {
      canActivate(context: ExecutionContext): boolean {
        if (context.switchToRpc().getData() === '1' && refusals-- > 0) throw new Error('not now');
        return true;
      }
    }

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      first(@Payload() id: string) {
        return world.write(this.durable.client, `first ${id}`);
      }

      // A guard that throws ends the group: what ran before it is committed.
      @UseGuards(SecondOfTwo)
      @EventPattern('t')
      second(@Payload() id: string) {
        return world.write(this.durable.client, `second ${id}`);
      }
    }
    for (let id = 0; id < 4; id++)
      world.kafka.produce('t', { value: `${id}`, headers: { 'idempotency-key': `${id}` } });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    const effects = await world.effects();
    expect(effects.filter((text) => text.startsWith('first'))).toEqual(
      [0, 1, 2, 3].map((id) => `first ${id}`),
    );
    expect(effects.filter((text) => text.startsWith('second'))).toEqual(
      [0, 1, 2, 3].map((id) => `second ${id}`),
    );
  });

  it('may have different keys for the same record, each with its own stored reply', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ key: (message) => message.value.a as string })
      @EventPattern('t')
      byA(@Payload() { a }: { a: string }) {
        return world.write(this.durable.client, `a ${a}`);
      }

      @Durable({ key: (message) => message.value.b as string })
      @EventPattern('t')
      byB(@Payload() { b }: { b: string }) {
        return world.write(this.durable.client, `b ${b}`);
      }
    }
    const message = (a: string, b: string) => ({ value: JSON.stringify({ a, b }) });
    world.kafka.produce('t', message('1', 'x'), message('2', 'y'), message('1', 'x'));
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['a 1', 'b x', 'a 2', 'b y']);
    expect((await world.executions()).map(({ handler, key }) => `${handler} ${key}`)).toEqual([
      'Handlers.byA 1',
      'Handlers.byB x',
      'Handlers.byA 2',
      'Handlers.byB y',
    ]);
  });

  it('leave a neighbour that is not durable alone', async () => {
    const seen: string[] = [];
    let failures = 1;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async durably(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (id === '1' && failures-- > 0) throw new Error('once');
      }

      @NotDurable()
      @EventPattern('t')
      plainly(@Payload() id: string) {
        seen.push(id);
      }
    }
    for (let id = 0; id < 3; id++) world.kafka.produce('t', { value: `${id}` });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['0', '1', '2']);
    expect(seen).toEqual(['0', '1', '2']);
  });
});
