import {
  Controller,
  UseInterceptors,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
  type Type,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { catchError, concat, finalize, from, of, repeat, retry, take, type Observable } from 'rxjs';
import { Durable, DurableExecution, DurablePool } from '../../../lib/index.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { DurableWorld, headerText, valueOf } from '../../support/durable-app.js';

type Intercept = (next: CallHandler) => Observable<unknown>;

describe('interceptors of durable handlers', () => {
  let world: DurableWorld;
  let runs: number;

  beforeEach(async () => {
    world = await DurableWorld.create();
    runs = 0;
  });

  afterEach(() => world.dispose());

  /** Of the application, around durable execution, or of the handler, inside of it. */
  describe.each(['around', 'inside'] as const)('%s', (place) => {
    const warned = () => world.log.lines.filter((line) => line.includes('Said once for each handler'));

    async function start(intercept: Intercept, controller: Type): Promise<void> {
      const interceptor: NestInterceptor = {
        intercept: (context: ExecutionContext, next: CallHandler) =>
          context.getClass() === controller ? intercept(next) : next.handle(),
      };
      if (place === 'inside') UseInterceptors(interceptor)(controller);
      const providers = place === 'around' ? [{ provide: APP_INTERCEPTOR, useValue: interceptor }] : [];
      await world.start({ controllers: [controller], providers });
    }

    /** Writes in both ways, publishes, and fails twice. */
    function failing(): Type {
      @Controller()
      class Handlers {
        constructor(
          private readonly durable: DurableExecution,
          private readonly pool: DurablePool,
        ) {}

        @EventPattern<string>('event')
        async event() {
          const run = `run ${++runs}`;
          await world.write(this.durable.client, run);
          await world.write(this.pool, run);
          await this.durable.emit('out', { value: { run } });
          if (runs < 3) throw new Error(`of ${run}`);
        }

        @MessagePattern('request')
        async request() {
          await world.write(this.durable.client, `run ${++runs}`);
          throw new Error(`of run ${runs}`);
        }
      }
      return Handlers;
    }

    it('that try again have no run commit beside another', async () => {
      await start((next) => next.handle().pipe(retry(5)), failing());
      world.kafka.produce('event', { value: '1' });
      await world.consumed('event');
      expect(runs).toBe(3);
      expect(await world.effects()).toEqual(['run 3', 'run 3']);
      expect(world.kafka.records('out').map(valueOf)).toEqual([{ run: 'run 3' }]);
      expect(warned()).toHaveLength(1);
    });

    it('that try a request again get it answered by its first error', async () => {
      await start((next) => next.handle().pipe(retry(5)), failing());
      world.request('request', 1);
      await world.consumed('request');
      expect(runs).toBe(1);
      expect(await world.effects()).toEqual([]);
      expect(await world.executions()).toMatchObject([{ state: 'failed', error_name: 'Error' }]);
      expect(world.replies('request')).toHaveLength(1);
    });

    it('that make a value of an error undo what the handler wrote', async () => {
      await start((next) => next.handle().pipe(catchError(() => of({ fallback: true }))), failing());
      world.kafka.produce('event', { value: '1' });
      world.request('request', 1);
      await world.consumed('event');
      await world.consumed('request');
      expect(await world.effects()).toEqual([]);
      expect(world.kafka.records('out')).toEqual([]);
      expect((await world.executions()).map(({ state }) => state).sort()).toEqual(['failed', 'skipped']);
      const [reply] = world.replies('request');
      expect(valueOf(reply!)).toEqual({ fallback: true });
      expect(headerText(reply!, 'kafka_nest-err')).toBeUndefined();
    });

    it.each<[string, Intercept]>([
      ['repeat', (next) => next.handle().pipe(repeat(2))],
      ['concat', (next) => concat(next.handle(), next.handle())],
    ])('that call a handler twice have it fail: %s', async (_, intercept) => {
      @Controller()
      class Handlers {
        constructor(private readonly pool: DurablePool) {}

        @EventPattern<string>('t')
        async run() {
          await world.write(this.pool, `run ${++runs}`);
        }
      }
      await start(intercept, Handlers);
      world.kafka.produce('t', { value: '1' });
      await world.consumed('t');
      expect(await world.effects()).toEqual([]);
      expect(await world.executions()).toMatchObject([{ state: 'dead', error_name: 'WrongCallOrderError' }]);
      expect(warned()).toHaveLength(1);
    });

    it('that try again in claim mode repeat no step', async () => {
      const steps: number[] = [];

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @Durable({ mode: 'claim' })
        @EventPattern<string>('t')
        async run() {
          const run = ++runs;
          await this.durable.step('charge', () => void steps.push(run));
          if (run < 3) throw new Error('after the step');
          await this.durable.transaction('book', (client) => world.write(client, `run ${run}`));
        }
      }
      await start((next) => next.handle().pipe(retry(5)), Handlers);
      world.kafka.produce('t', { value: '1' });
      await world.consumed('t');
      expect(steps).toEqual([1]);
      expect(await world.effects()).toEqual(['run 3']);
    });

    it('may take some values of a stream', async () => {
      let ended = 0;

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @MessagePattern('ask')
        async answer(@Payload() id: string) {
          await world.write(this.durable.client, id);
          return from([1, 2, 3]).pipe(finalize(() => ended++));
        }
      }
      await start((next) => next.handle().pipe(take(1)), Handlers);
      world.request('ask', 'a');
      await world.consumed('ask');
      expect(ended).toBe(1);
      expect(await world.effects()).toEqual(['"a"']);
      expect(valueOf(world.replies('ask')[0]!)).toBe(1);
    });
  });

  it('that answer before the handler has ended have the run fail, not half of it commit', async () => {
    const left = deferred();
    const answer: NestInterceptor = {
      intercept: (_, next) => {
        next.handle().subscribe({ error: () => undefined });
        return from(left.promise);
      },
    };

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @UseInterceptors(answer)
      @EventPattern<string>('t')
      async run() {
        await world.write(this.durable.client, 'first half');
        left.resolve();
        await new Promise<void>(() => undefined);
      }
    }
    await world.start({ controllers: [Handlers] });
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    expect(await world.effects()).toEqual([]);
    expect(await world.executions()).toMatchObject([{ state: 'dead', error_name: 'WrongCallOrderError' }]);
  });
});
