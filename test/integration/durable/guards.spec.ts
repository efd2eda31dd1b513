import { Controller, UseGuards, type CanActivate } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { NotDurable } from '../../../lib/durable/durable.decorators.js';
import { DurableWorld, headerText, valueOf } from '../../support/durable-app.js';

describe('guards of durable handlers', () => {
  let world: DurableWorld;
  let ran: string[];
  let asked: number;
  let guard: () => boolean;

  beforeEach(async () => {
    world = await DurableWorld.create();
    ran = [];
    asked = 0;
  });

  afterEach(() => world.dispose());

  class Guard implements CanActivate {
    canActivate(): boolean {
      asked++;
      return guard();
    }
  }

  @UseGuards(Guard)
  @Controller()
  class Handlers {
    @EventPattern('t')
    run(@Payload() id: string) {
      ran.push(id);
    }

    @MessagePattern('ask')
    ask(@Payload() id: string) {
      ran.push(id);
    }
  }

  it('that deny an event have it dead at once, in the ledger with all its bytes', async () => {
    guard = () => asked > 1;
    world.kafka.produce('t', { value: 'denied' }, { value: 'allowed' });
    await world.start({ controllers: [Handlers], server: { deadLetter: true } });
    await world.consumed('t');
    expect(ran).toEqual(['allowed']);
    expect(await world.executions()).toMatchObject([{ handler: 'Handlers.run', state: 'dead', attempts: 1 }]);
    const [row] = await world.query<{ reason: string; value: string }>(
      "select reason, convert_from(record_value, 'UTF8') as value from {schema}.dead_letters",
    );
    expect(row).toEqual({ reason: 'forbidden', value: 'denied' });
    const [letter] = world.kafka.records('t.dlt');
    expect(headerText(letter!, 'dlt-reason')).toBe('forbidden');
    expect(headerText(letter!, 'dlt-exception-message')).toBe('Forbidden resource');
  });

  it('that throw have it tried again, and then dead', async () => {
    guard = () => {
      if (asked <= 3) throw new TypeError('the directory is away');
      return true;
    };
    world.kafka.produce('t', { value: 'a' }, { value: 'b' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(ran).toEqual(['b']);
    expect(await world.executions()).toMatchObject([
      { handler: 'Handlers.run', state: 'dead', attempts: 3, error_name: 'TypeError' },
    ]);
  });

  it('that deny the handlers of some controllers, which inherit one method, have these dead by themselves', async () => {
    abstract class Inherited {
      @EventPattern('t')
      run(@Payload() id: string) {
        ran.push(`${this.constructor.name} ${id}`);
      }
    }
    @UseGuards(Guard)
    @Controller()
    class Denied extends Inherited {}

    @Controller()
    class Allowed extends Inherited {}

    @UseGuards(Guard)
    @NotDurable()
    @Controller()
    class Skipped extends Inherited {}

    guard = () => false;
    world.kafka.produce('t', { value: 'a' });
    await world.start({ controllers: [Skipped, Denied, Allowed], server: { deadLetter: true } });
    await world.consumed('t');
    expect(ran).toEqual(['Allowed a']);
    expect(await world.executions()).toMatchObject([{ handler: 'Denied.run', state: 'dead' }]);
    expect(world.kafka.records('t.dlt')).toHaveLength(2);
  });

  it('that come round have the handler run as if nothing had been', async () => {
    guard = () => {
      if (asked === 1) throw new TypeError('the directory is away');
      return true;
    };
    world.kafka.produce('t', { value: 'a' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(ran).toEqual(['a']);
    expect(await world.executions()).toEqual([]);
  });

  it('that deny a request have it answered', async () => {
    guard = () => false;
    world.request('ask', 'a');
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    const [reply] = world.replies('ask');
    expect(JSON.parse(headerText(reply!, 'kafka_nest-err')!)).toMatchObject({
      message: 'Forbidden resource',
    });
    expect(valueOf(reply!)).toBeNull();
    expect(await world.executions()).toMatchObject([{ handler: 'Handlers.ask', state: 'failed' }]);
  });

  it('that deny an event of a handler that is not durable have it skipped, or published as dead', async () => {
    guard = () => asked > 1;
    world.kafka.produce('t', { value: 'denied' }, { value: 'allowed' });
    await world.start({ controllers: [Handlers], durable: false, server: { deadLetter: true } });
    await world.consumed('t');
    expect(ran).toEqual(['allowed']);
    expect(world.kafka.records('t.dlt').map((letter) => headerText(letter, 'dlt-reason'))).toEqual([
      'forbidden',
    ]);
  });
});

describe('dead letters of handlers that are not durable', () => {
  it('say what was really thrown', async () => {
    const world = await DurableWorld.create();
    try {
      class NoSuchAccountError extends Error {
        override name = 'NoSuchAccountError';
      }

      @Controller()
      class Handlers {
        @EventPattern('t')
        run(@Payload() id: string) {
          if (id === 'bad') throw new NoSuchAccountError('account 7');
        }
      }
      world.kafka.produce('t', { value: 'bad' }, { value: 'good' });
      await world.start({ controllers: [Handlers], durable: false, server: { deadLetter: true } });
      await world.consumed('t');
      const [letter] = world.kafka.records('t.dlt');
      expect(headerText(letter!, 'dlt-exception-class')).toBe('NoSuchAccountError');
      expect(headerText(letter!, 'dlt-exception-message')).toBe('account 7');
      expect(headerText(letter!, 'dlt-exception-stack')).toContain('guards.spec');
      expect(headerText(letter!, 'dlt-attempts')).toBe('3');
    } finally {
      await world.dispose();
    }
  });
});
