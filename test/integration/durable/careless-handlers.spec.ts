import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Observable } from 'rxjs';
import { DurableExecution, DurablePool } from '../../../lib/index.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import type { TransactionClient } from '../../../lib/postgres/transaction-client.js';
import { DurableWorld, headerText } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

class Hostile extends Error {
  override get message(): string {
    throw new Error('the message cannot be read');
  }
  override get name(): string {
    throw new Error('the name cannot be read');
  }
  override get stack(): string {
    throw new Error('the stack cannot be read');
  }
  override get cause(): unknown {
    throw new Error('the cause cannot be read');
  }
}

const THROWN: readonly [string, () => unknown, string][] = [
  ['undefined', () => undefined, 'undefined'],
  ['null', () => null, 'object'],
  ['a text', () => 'a text', 'string'],
  ['a frozen object', () => Object.freeze({ message: 'frozen' }), 'Object'],
  ['an object without a prototype', () => Object.create(null) as object, 'Object'],
  ['an error whose properties throw', () => new Hostile(), 'Hostile'],
  ['a promise', () => Promise.resolve('odd'), 'Promise'],
];

describe('handlers that are careless', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  describe.each([
    ['durable', undefined],
    ['not durable', false],
  ] as const)('and %s', (_which, durable) => {
    it.each(THROWN)(
      'may throw %s: their record is dead, and the next one is handled',
      async (_what, make, name) => {
        const seen: string[] = [];

        @Controller()
        class Handlers {
          @EventPattern('t')
          run(@Payload() id: string) {
            seen.push(id);
            if (id === 'bad') throw make();
          }
        }
        world.kafka.produce('t', { value: 'bad' }, { value: 'good' });
        await world.start({
          controllers: [Handlers],
          durable,
          server: { deadLetter: true, retry: { attempts: 2, initial: 1 } },
        });
        await world.consumed('t');
        expect(seen.at(-1)).toBe('good');
        const letters = world.kafka.records('t.dlt');
        expect(letters.map((letter) => headerText(letter, 'dlt-exception-class'))).toEqual([name]);
      },
    );

    it.each(THROWN)('are answered with an error where a request throws %s', async (_what, make) => {
      @Controller()
      class Handlers {
        @MessagePattern('q')
        run() {
          throw make();
        }
      }
      world.request('q', 'x');
      await world.start({ controllers: [Handlers], durable });
      await world.consumed('q');
      await eventually(() => world.replies('q').length > 0);
      expect(world.replies('q')[0]!.headers.map(([header]) => header)).toContain('kafka_nest-err');
    });

    it('may settle more than once: what comes first counts', async () => {
      const done: string[] = [];
      const streams: Record<string, () => Observable<string>> = {
        'value after end': () =>
          new Observable((to) => {
            to.next('1');
            to.complete();
            to.next('2');
            to.error(new Error('late'));
          }),
        'value after error': () =>
          new Observable((to) => {
            to.error(new Error('first'));
            to.next('1');
            to.complete();
          }),
      };

      @Controller()
      class Handlers {
        @EventPattern('t')
        run(@Payload() name: string) {
          done.push(name);
          return streams[name]!();
        }
      }
      world.kafka.produce('t', { value: 'value after error' }, { value: 'value after end' });
      await world.start({
        controllers: [Handlers],
        durable,
        server: { deadLetter: true, retry: { attempts: 2, initial: 1 } },
      });
      await world.consumed('t');
      expect(done).toEqual(['value after error', 'value after error', 'value after end']);
      expect(world.kafka.records('t.dlt')).toHaveLength(1);
    });
  });

  it('may send queries too late: these are refused, nobody has to wait for that, and the log says so once', async () => {
    const rejections: unknown[] = [];
    const onRejection = (reason: unknown) => rejections.push(reason);
    process.on('unhandledRejection', onRejection);
    const goOn = deferred();
    let sent = 0;

    @Controller()
    class Handlers {
      constructor(
        private readonly durable: DurableExecution,
        private readonly pool: DurablePool,
      ) {}

      @EventPattern('t')
      run(@Payload() _id: string) {
        const { client } = this.durable;
        void goOn.promise.then(() => {
          void (client as TransactionClient).query('select 1');
          void this.pool.query('select 1');
          sent++;
        });
      }
    }
    try {
      world.kafka.produce('t', { value: 'a' }, { value: 'b' });
      await world.start({ controllers: [Handlers] });
      await world.consumed('t');
      goOn.resolve();
      await eventually(() => sent === 2);
      // Rejections are reported when the queue of promises is empty.
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(rejections).toEqual([]);
      const told = world.log.matching('floating');
      expect(told).toHaveLength(2);
      expect(told.every((line) => JSON.stringify(line).includes('Handlers.run'))).toBe(true);
    } finally {
      process.off('unhandledRejection', onRejection);
    }
  });
});
