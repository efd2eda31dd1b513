import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { DurableExecution, DurablePool, type StepOptions } from '../../../lib/index.js';
import { DurableWorld, headerText, valueOf } from '../../support/durable-app.js';

/** What a handler of these tests does; given anew by each. */
type Handle = (durable: DurableExecution, pool: DurablePool, payload: string) => unknown;

describe('steps in transaction mode', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  /** Has a handler see one event, to its end. */
  async function handle(run: Handle, { attempts = 3 } = {}): Promise<void> {
    @Controller()
    class Handlers {
      constructor(
        private readonly durable: DurableExecution,
        private readonly pool: DurablePool,
      ) {}

      @EventPattern('t')
      async run(@Payload() payload: string) {
        await run(this.durable, this.pool, payload);
      }
    }
    world.kafka.produce('t', { value: 'x', headers: { 'idempotency-key': 'k' } });
    await world.start({ controllers: [Handlers], server: { retry: { attempts, initial: 1, max: 5 } } });
    await world.consumed('t');
  }

  const steps = () =>
    world.query<{ handler: string; key: string; position: number; name: string }>(
      'select handler, key, position, name from {schema}.steps order by position',
    );
  const states = async () => (await world.executions()).map(({ state, error_name }) => [state, error_name]);

  it('give results back as the journal keeps them, and are recorded in order with the message', async () => {
    const results: unknown[] = [];
    await handle(async (durable) => {
      results.push(await durable.step('time', () => new Date(7)));
      results.push(
        await durable.step('sum', async () => Promise.resolve({ cents: 5n, bytes: Buffer.from('a') })),
      );
      results.push(
        await durable.transaction('write', async (client) => {
          await world.write(client, 'by argument');
          await world.write(durable.client, 'by client');
        }),
      );
    });
    expect(results).toEqual([new Date(7), { cents: 5n, bytes: Buffer.from('a') }, undefined]);
    expect(await world.effects()).toEqual(['by argument', 'by client']);
    expect(await steps()).toEqual(
      ['time', 'sum', 'write'].map((name, position) => ({
        handler: 'Handlers.run',
        key: 'k',
        position,
        name,
      })),
    );
  });

  it('are undone with the message, and run again with it', async () => {
    let runs = 0;
    await handle(async (durable) => {
      await durable.step('count', async () => {
        runs++;
        await world.write(durable.client, `run ${runs}`);
      });
      if (runs === 1) throw new Error('once');
    });
    expect(await world.effects()).toEqual(['run 2']);
    expect(await steps()).toHaveLength(1);
  });

  it.each(['step', 'transaction'] as const)(
    'of kind %s are tried again without what a failed try wrote',
    async (kind) => {
      let tries = 0;
      let handlers = 0;
      await handle(async (durable) => {
        handlers++;
        const options: StepOptions = { retry: { attempts: 3, initial: 1 } };
        const value = await durable[kind](
          'flaky',
          async () => {
            tries++;
            await world.write(durable.client, `try ${tries}`);
            if (kind === 'transaction') await durable.emit('out', { tries });
            if (tries === 1) await durable.client.query('select no_such_column');
            if (tries < 3) throw new Error('not yet');
            return tries;
          },
          options,
        );
        await world.write(durable.client, `value ${value}`);
      });
      expect({ tries, handlers }).toEqual({ tries: 3, handlers: 1 });
      expect(await world.effects()).toEqual(['try 3', 'value 3']);
      expect(world.kafka.records('out').map(valueOf)).toEqual(kind === 'transaction' ? [{ tries: 3 }] : []);
    },
  );

  it('are not tried again after the deadline of their retries', async () => {
    let reached: unknown;
    await handle(async (durable) => {
      const failing = () => {
        throw new Error('never');
      };
      const retry = { attempts: Number.MAX_SAFE_INTEGER, initial: 1, max: 2, deadline: 20 };
      await durable.step('failing', failing, { retry }).catch((error: unknown) => (reached = error));
    });
    expect(reached).toMatchObject({ message: 'never' });
  });

  it('have their failure reach the handler when the tries are used up, whose other work stays', async () => {
    await handle(async (durable) => {
      await world.write(durable.client, 'before');
      const failing = durable.transaction('failing', async (client) => {
        await world.write(client, 'undone');
        throw new Error('mine');
      });
      await expect(failing).rejects.toThrow('mine');
      await durable.step('after', () => world.write(durable.client, 'after'));
    });
    expect(await world.effects()).toEqual(['before', 'after']);
    expect((await steps()).map(({ position, name }) => [position, name])).toEqual([[1, 'after']]);
  });

  it('that take longer than their timeout fail, hear of it by their signal, and write nothing afterwards', async () => {
    let late: Promise<unknown> | undefined;
    let heard: unknown;
    await handle(async (durable) => {
      const slow = durable.transaction(
        'slow',
        (client, signal) =>
          new Promise((resolve) => {
            signal.addEventListener('abort', () => {
              heard = signal.reason;
              late = Promise.all([
                // Before the part is rolled back, and after.
                world.write(client, 'undone'),
                new Promise((tick) => setTimeout(tick, 20)).then(() => world.write(client, 'late')),
              ]).catch((error: unknown) => error);
              late.then(resolve, resolve);
            });
          }),
        { timeout: 20 },
      );
      await expect(slow).rejects.toMatchObject({ code: 'KT_STEP_TIMEOUT', retryable: true });
      await world.write(durable.client, 'went on');
    });
    expect(heard).toMatchObject({ code: 'KT_STEP_TIMEOUT' });
    expect(await late).toMatchObject({ code: 'KT_WRONG_CALL_ORDER' });
    expect(await world.effects()).toEqual(['went on']);
  });

  it('are refused inside each other, beside each other, and inside a transaction of DurablePool', async () => {
    const codes: unknown[] = [];
    const note = (error: { code: string; message: string }) =>
      codes.push([error.code, error.message.slice(0, 52)]);
    await handle(async (durable, pool) => {
      await durable.step('outer', () => durable.step('inner', () => 1).catch(note));
      const first = durable.step('first', () => new Promise((resolve) => setTimeout(resolve, 20)));
      await durable.step('second', () => 1).catch(note);
      await first;
      const client = await pool.connect();
      await client.query('begin');
      await durable.step('third', () => 1).catch(note);
      await client.query('rollback');
      client.release();
    });
    expect(codes).toEqual([
      ['KT_WRONG_CALL_ORDER', 'Step "inner" was begun inside another step: steps ca'],
      ['KT_WRONG_CALL_ORDER', 'Step "second" was begun while step "first" of the sa'],
      ['KT_WRONG_CALL_ORDER', 'Step "third" was begun while a transaction of Durabl'],
    ]);
  });

  it('cannot emit, since a replay would not', async () => {
    await handle(async (durable) => {
      await expect(durable.step('emit', () => durable.emit('out', 'x'))).rejects.toThrow(
        'durable.transaction(name, fn)',
      );
      await durable.transaction('emit in it', () => durable.emit('out', { emitted: 'y' }));
    });
    expect(world.kafka.records('out').map(valueOf)).toEqual([{ emitted: 'y' }]);
  });

  it('that are not awaited fail their handler', async () => {
    let first = true;
    await handle(async (durable) => {
      const floating = durable.step('floating', () => new Promise((resolve) => setTimeout(resolve, 50)));
      floating.catch(() => undefined);
      if (!first) await floating;
      first = false;
      await world.write(durable.client, 'written');
    });
    expect(await world.effects()).toEqual(['written']);
    expect(world.log.lines.join('\n')).toContain('still under way when its handler returned');
  });

  it('with a result that cannot be stored end the message: it would run again every time', async () => {
    let runs = 0;
    await handle(async (durable) => {
      await durable.step('bad', () => {
        runs++;
        return { then: undefined, run: () => 'payload' };
      });
    });
    expect(runs).toBe(1);
    expect(await states()).toEqual([['dead', 'StepResultError']]);
    const [letter] = await world.query<{ reason: string }>('select reason from {schema}.dead_letters');
    expect(letter).toEqual({ reason: 'step-result' });
  });

  it('with options or names that mean nothing are refused', async () => {
    const messages: string[] = [];
    const note = (error: Error) => messages.push(error.message);
    await handle(async (durable) => {
      await durable.step('', () => 1).catch(note);
      await durable.step('a'.repeat(201), () => 1).catch(note);
      await durable.step('x', () => 1, { timeout: 0 }).catch(note);
      await durable.step('x', () => 1, { retry: { attempts: 0 } }).catch(note);
      await durable.step('x', () => 1, { retry: { initial: 10, max: 5 } }).catch(note);
      await durable.step('x', () => 1, { retry: { jitter: 'no' as never } }).catch(note);
      await durable.step('x', () => 1, { retry: 3 as never }).catch(note);
      await durable.step('x', () => 1, { retries: 3 } as StepOptions).catch(note);
      await durable.step('x', () => 1, null as never).catch(note);
    });
    expect(messages).toEqual([
      expect.stringContaining('1 to 200 characters'),
      expect.stringContaining('1 to 200 characters'),
      expect.stringContaining('"step.timeout" is 0'),
      expect.stringContaining('"step.retry.attempts" is 0'),
      expect.stringContaining('"step.retry.initial" is 10; it must not be above step.retry.max (5)'),
      expect.stringContaining(`"step.retry.jitter" is 'no'; it must be true or false`),
      expect.stringContaining('"step.retry" is 3; it must be an object'),
      expect.stringContaining('step.retries'),
      expect.stringContaining('"step" is null; it must be an object'),
    ]);
  });

  it('leave no row for a message that is known by its position', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @MessagePattern('ask')
      ask() {
        return this.durable.step('answer', () => ({ answer: 42 }));
      }
    }
    world.request('ask', {});
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(world.replies('ask').map(valueOf)).toEqual([{ answer: 42 }]);
    expect(headerText(world.replies('ask')[0]!, 'kafka_nest-err')).toBeUndefined();
    expect(await steps()).toEqual([]);
  });
});
