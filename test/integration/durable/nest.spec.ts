import {
  Catch,
  Controller,
  Inject,
  Injectable,
  Module,
  Scope,
  UseFilters,
  UseGuards,
  UseInterceptors,
  type CanActivate,
  type ExceptionFilter,
  type INestApplication,
} from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { EMPTY, from, NEVER, of, throwError, timer, mergeMap } from 'rxjs';
import {
  Durable,
  DurableExecution,
  DurableInterceptor,
  DurableLedger,
  DurableModule,
  InvalidOptionError,
  kafkaServer,
  NotDurable,
  NotDurableError,
  type DurableModuleAsyncOptions,
  type DurableModuleOptions,
  type KafkaDeliveryContext,
} from '../../../lib/index.js';
import { DurableWorld, headerText, valueOf } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { NoHttpAdapter } from '../../support/no-http-adapter.js';
import { writer } from '../../support/writer.js';

describe('durable handlers inside Nest', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  async function hybrid(
    modules: unknown[],
    controllers: unknown[],
    inheritAppConfig: boolean,
  ): Promise<INestApplication> {
    @Module({ imports: modules as never[], controllers: controllers as never[] })
    class App {}

    const testing = await Test.createTestingModule({ imports: [App] })
      .setLogger(world.log)
      .compile();
    const app = world.closing(testing.createNestApplication(new NoHttpAdapter()));
    app.connectMicroservice(kafkaServer(world.serverOptions()), { inheritAppConfig });
    return app;
  }

  describe('what a handler returns', () => {
    it.each([
      ['EMPTY', () => EMPTY],
      ['several values', () => from([1, 2, 3])],
      ['an Observable of nothing', () => of(undefined)],
      ['an Observable that takes its time', () => timer(20)],
      ['nothing', () => undefined],
    ])('may be %s: the event is done', async (_, result) => {
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() id: string) {
          await world.write(this.durable.client, id);
          return result();
        }
      }
      world.kafka.produce('t', { value: '1' }, { value: '2' });
      await world.start({ controllers: [Handlers] });
      await world.consumed('t');
      expect(await world.effects()).toEqual(['1', '2']);
    });

    it('may write while it is subscribed to, within the transaction', async () => {
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @MessagePattern('ask')
        answer(@Payload() id: string) {
          return timer(5).pipe(mergeMap(() => world.write(this.durable.client, id)));
        }
      }
      world.request('ask', 'b');
      await world.start({ controllers: [Handlers] });
      await world.consumed('ask');
      expect(await world.effects()).toEqual(['"b"']);
    });

    it('may be an Observable that fails: the event is retried', async () => {
      let runs = 0;

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() id: string) {
          await world.write(this.durable.client, id);
          return ++runs < 3 ? throwError(() => new Error('stream')) : of('done');
        }
      }
      world.kafka.produce('t', { value: '1' });
      await world.start({ controllers: [Handlers] });
      await world.consumed('t');
      expect(runs).toBe(3);
      expect(await world.effects()).toEqual(['1']);
    });

    it('may never end: it is given up at handlerTimeout', async () => {
      const aborted: unknown[] = [];

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() id: string, @Ctx() context: unknown) {
          await world.write(this.durable.client, id);
          const { signal } = context as KafkaDeliveryContext;
          signal.addEventListener('abort', () => aborted.push(signal.reason));
          return id === '1' ? NEVER : of(id);
        }
      }
      world.kafka.produce('t', { value: '0' }, { value: '1' }, { value: '2' });
      await world.start({
        controllers: [Handlers],
        server: { handlerTimeout: 2_000, retry: { attempts: 2, initial: 1 } },
      });
      await world.consumed('t');
      expect(await world.effects()).toEqual(['0', '2']);
      expect(aborted.length).toBeGreaterThanOrEqual(2);
      expect((await world.executions()).find(({ state }) => state === 'dead')).toMatchObject({
        error_name: 'HandlerTimeoutError',
        attempts: 2,
      });
    });
  });

  it('may be request-scoped', async () => {
    let instances = 0;

    @Injectable({ scope: Scope.REQUEST })
    class Service {
      constructor(readonly durable: DurableExecution) {
        instances++;
      }
    }

    @Controller()
    class Handlers {
      constructor(@Inject(Service) private readonly service: Service) {}

      @EventPattern('t')
      run(@Payload() id: string) {
        return world.write(this.service.durable.client, id);
      }

      @MessagePattern('ask')
      async answer(@Payload() { id }: { id: string }) {
        await world.write(this.service.durable.client, id);
        return { id };
      }
    }
    const message = { value: '1', headers: { 'idempotency-key': 'k' } };
    world.kafka.produce('t', message, message, { value: '2' });
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.start({ controllers: [Handlers], providers: [Service] });
    await world.consumed('t');
    await world.consumed('ask');
    expect((await world.effects()).sort()).toEqual(['1', '2', 'a']);
    expect(world.replies('ask').map(valueOf)).toEqual([{ id: 'a' }, { id: 'a' }]);
    expect(instances).toBeGreaterThanOrEqual(3);
  });

  describe('an exception filter', () => {
    it('that swallows the error of an event has the record skipped and its writes undone', async () => {
      @Catch()
      class Swallow implements ExceptionFilter {
        catch() {
          return of(undefined);
        }
      }

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @UseFilters(Swallow)
        @EventPattern('t')
        async run(@Payload() id: string) {
          await world.write(this.durable.client, id);
          await this.durable.emit('out', id);
          if (id === '1') throw new Error('swallowed');
        }
      }
      world.kafka.produce('t', { value: '0' }, { value: '1' }, { value: '2' });
      await world.start({ controllers: [Handlers] });
      await world.consumed('t');
      expect(await world.effects()).toEqual(['0', '2']);
      expect(world.kafka.records('out').map(({ value }) => value?.toString())).toEqual(['0', '2']);
      expect((await world.executions()).filter(({ state }) => state !== 'completed')).toMatchObject([
        { state: 'skipped', record_offset: '1', error_name: 'Error' },
      ]);
    });

    it('that answers a request has its answer stored, and the writes undone', async () => {
      let runs = 0;

      @Catch()
      class Answer implements ExceptionFilter {
        catch() {
          return of({ answered: 'by the filter' });
        }
      }

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @UseFilters(Answer)
        @MessagePattern('ask')
        async answer(@Payload() { id }: { id: string }) {
          runs++;
          await world.write(this.durable.client, id);
          throw new Error('swallowed');
        }
      }
      world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
      await world.start({ controllers: [Handlers] });
      await world.consumed('ask');
      await world.rewind('ask');
      await world.start({ controllers: [Handlers] });
      await eventually(() => world.replies('ask').length === 2);
      expect(world.replies('ask').map(valueOf)).toEqual([
        { answered: 'by the filter' },
        { answered: 'by the filter' },
      ]);
      expect(runs).toBe(1);
      expect(await world.effects()).toEqual([]);
      expect(await world.executions()).toMatchObject([{ state: 'failed' }]);
    });

    it('that swallows an infrastructure error does not lose the record', async () => {
      let failures = 2;

      @Catch()
      class Swallow implements ExceptionFilter {
        catch() {
          return of(undefined);
        }
      }

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @UseFilters(Swallow)
        @EventPattern('t')
        async run(@Payload() id: string) {
          await world.write(this.durable.client, id);
          if (failures-- > 0) throw Object.assign(new Error('deadlock detected'), { code: '40P01' });
        }
      }
      world.kafka.produce('t', { value: '1', headers: { 'idempotency-key': 'k' } });
      await world.start({ controllers: [Handlers] });
      await world.consumed('t');
      expect(await world.effects()).toEqual(['1']);
      expect(await world.executions()).toMatchObject([{ state: 'completed' }]);
    });
  });

  it('are refused by a guard: a request is answered so, an event is dead and comes back by a redrive', async () => {
    let closed = true;

    class Door implements CanActivate {
      canActivate(): boolean {
        return !closed;
      }
    }

    @UseGuards(Door)
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      run(@Payload() id: string) {
        return world.write(this.durable.client, id);
      }

      @MessagePattern('ask')
      answer(@Payload() id: string) {
        return { id };
      }
    }
    world.kafka.produce('t', { value: '1' }, { value: '2' });
    world.request('ask', 'a');
    const app = await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(headerText(world.replies('ask')[0]!, 'kafka_nest-err')).toContain('Forbidden');
    await world.consumed('t');
    expect(await world.effects()).toEqual([]);
    closed = false;
    const { redriven } = await app.get(DurableLedger).redrive({ reason: 'forbidden' });
    expect(redriven).toBe(2);
    await eventually(() => world.kafka.records('t').length === 4);
    await world.consumed('t');
    expect(await world.effects()).toEqual(['1', '2']);
  });

  describe('the module', () => {
    it('is refused twice', async () => {
      const second = DurableModule.forRoot({ ...world.connection, keyHeader: 'other' });
      await expect(world.build({ controllers: [writer(world)], imports: [second] })).rejects.toThrow(
        NotDurableError,
      );
    });

    it('does not let a hybrid application start whose handlers it does not reach', async () => {
      const app = await hybrid([DurableModule.forRoot(world.connection)], [writer(world)], false);
      await expect(app.startAllMicroservices()).rejects.toThrow(/inheritAppConfig/);
    });

    it('works in a hybrid application that inherits the configuration', async () => {
      world.kafka.produce('t', { value: '1' });
      const app = await hybrid([DurableModule.forRoot(world.connection)], [writer(world)], true);
      await app.startAllMicroservices();
      await app.init();
      await world.consumed('t');
      expect(await world.effects()).toEqual(['1']);
    });

    it.each(['useFactory', 'useClass', 'useExisting'] as const)('takes its options from %s', async (kind) => {
      const options = world.connection;

      @Injectable()
      class Factory {
        createDurableOptions(): DurableModuleOptions {
          return options as DurableModuleOptions;
        }
      }
      @Module({ providers: [Factory], exports: [Factory] })
      class Configuration {}

      const variants: Record<string, DurableModuleAsyncOptions> = {
        useFactory: {
          imports: [Configuration],
          inject: [Factory],
          useFactory: ((factory: Factory) => Promise.resolve(factory.createDurableOptions())) as never,
        },
        useClass: { useClass: Factory },
        useExisting: { imports: [Configuration], useExisting: Factory },
      };
      world.kafka.produce('t', { value: '1' });
      await world.start({
        controllers: [writer(world)],
        durable: false,
        imports: [DurableModule.forRootAsync(variants[kind]!)],
      });
      await world.consumed('t');
      expect(await world.effects()).toEqual(['1']);
    });

    it('refuses "global" from a factory, which comes too late to be heard', async () => {
      const module = DurableModule.forRootAsync({
        useFactory: () => ({ ...world.connection, global: false }) as DurableModuleOptions,
      });
      const start = world.build({ controllers: [writer(world)], durable: false, imports: [module] });
      await expect(start).rejects.toThrow(InvalidOptionError);
    });

    it('leaves handlers without a decorator alone under global: false', async () => {
      const inside: string[] = [];

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        plain(@Payload() id: string) {
          inside.push(id);
        }

        @Durable()
        @EventPattern('t')
        marked(@Payload() id: string) {
          return world.write(this.durable.client, `marked ${id}`);
        }

        @UseInterceptors(DurableInterceptor)
        @EventPattern('t')
        bound(@Payload() id: string) {
          return world.write(this.durable.client, `bound ${id}`);
        }
      }
      world.kafka.produce('t', { value: '1', headers: { 'idempotency-key': 'k' } });
      await world.start({ controllers: [Handlers], durable: { global: false } });
      await world.consumed('t');
      expect(inside).toEqual(['1']);
      expect(await world.effects()).toEqual(['marked 1', 'bound 1']);
      expect((await world.executions()).map(({ handler }) => handler)).toEqual([
        'Handlers.bound',
        'Handlers.marked',
      ]);
    });

    it('works in a hybrid application without inheritance where handlers are bound one by one', async () => {
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @Durable()
        @EventPattern('t')
        run(@Payload() id: string) {
          return world.write(this.durable.client, id);
        }
      }
      world.kafka.produce('t', { value: '1' });
      const app = await hybrid(
        [DurableModule.forRoot({ ...world.connection, global: false })],
        [Handlers],
        false,
      );
      await app.startAllMicroservices();
      await app.init();
      await world.consumed('t');
      expect(await world.effects()).toEqual(['1']);
    });

    it('takes a controller out by @NotDurable(), and one of its handlers back in', async () => {
      @NotDurable()
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        out(@Payload() _id: string) {
          expect(() => this.durable.client).toThrow();
        }

        @Durable()
        @EventPattern('t')
        in(@Payload() id: string) {
          return world.write(this.durable.client, id);
        }
      }
      world.kafka.produce('t', { value: '1', headers: { 'idempotency-key': 'k' } });
      await world.start({ controllers: [Handlers] });
      await world.consumed('t');
      expect(await world.effects()).toEqual(['1']);
      expect((await world.executions()).map(({ handler }) => handler)).toEqual(['Handlers.in']);
    });

    it.each([
      [{ run: { autoCommit: true } }, /autoCommit/],
      [{ run: { autoCommit: false } }, /autoCommit/],
    ])('refuses server options that take offsets from the ledger: %j', async (server, message) => {
      await expect(world.start({ controllers: [writer(world)], server })).rejects.toThrow(message);
    });

    it('refuses a missing connection and an unknown option', () => {
      expect(() => DurableModule.forRoot({})).toThrow(/connection/);
      expect(() => DurableModule.forRoot({ ...world.connection, schemas: 'x' } as never)).toThrow(/schema/);
    });
  });

  it('leave a server that listens alone when it is told to listen once more', async () => {
    const server = kafkaServer(world.serverOptions());
    const { strategy } = server as { strategy: { listen(done: (error?: unknown) => void): Promise<void> } };

    @Module({ imports: [DurableModule.forRoot(world.connection)], controllers: [writer(world)] })
    class App {}

    const testing = await Test.createTestingModule({ imports: [App] })
      .setLogger(world.log)
      .compile();
    await world.closing(testing.createNestMicroservice(server)).listen();
    const answers: unknown[] = [];
    await strategy.listen((error) => answers.push(error));
    expect(answers).toEqual([expect.objectContaining({ code: 'KT_WRONG_CALL_ORDER' })]);
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['1']);
  });
});
