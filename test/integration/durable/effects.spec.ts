import { Controller, Injectable } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import {
  DurableExecution,
  KafkaTerminalException,
  NotDurable,
  OutsideHandlerError,
  type KafkaDeliveryContext,
} from '../../../lib/index.js';
import type { TransactionClient } from '../../../lib/postgres/transaction-client.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { writer } from '../../support/writer.js';

describe('effects of a durable handler', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  it('commit together with the execution', async () => {
    for (let id = 0; id < 150; id++) {
      world.kafka.produce('t', { value: `${id}`, headers: { 'idempotency-key': `k${id}` } });
    }
    await world.start({ controllers: [writer(world)] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(Array.from({ length: 150 }, (_, id) => `${id}`));
    const executions = await world.executions();
    expect(executions).toHaveLength(150);
    expect(new Set(executions.map(({ state }) => state))).toEqual(new Set(['completed']));
  });

  it('are gone when the handler throws, and happen once when it is retried', async () => {
    const attempts: number[] = [];

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string, @Ctx() context: unknown) {
        await world.write(this.durable.client, id);
        if (id !== '1') return;
        expect((context as KafkaDeliveryContext).attempt).toBe(this.durable.attempt);
        attempts.push(this.durable.attempt);
        if (this.durable.attempt < 3) throw new Error('not yet');
      }
    }
    world.kafka.produce('t', { value: '0' }, { value: '1' }, { value: '2' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['0', '1', '2']);
    // A run inside a group that was undone as a whole is not counted.
    expect([...new Set(attempts)]).toEqual([1, 2, 3]);
  });

  it('stay in order around a record that is given up', async () => {
    let runs = 0;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (id !== '100') return;
        runs++;
        throw new Error('poison');
      }
    }
    for (let id = 0; id <= 200; id++) {
      world.kafka.produce('t', { value: `${id}`, headers: { 'idempotency-key': `k${id}`, other: 'x' } });
    }
    await world.start({ controllers: [Handlers], server: { retry: { attempts: 4, initial: 1, max: 2 } } });
    await world.consumed('t');
    const good = Array.from({ length: 201 }, (_, id) => `${id}`).filter((id) => id !== '100');
    expect(await world.effects()).toEqual(good);
    const dead = (await world.executions()).filter(({ state }) => state !== 'completed');
    expect(dead).toMatchObject([
      {
        handler: 'Handlers.run',
        key: 'k100',
        state: 'dead',
        attempts: 4,
        error_name: 'Error',
        record_offset: '100',
      },
    ]);
    expect(runs).toBeGreaterThanOrEqual(4);
    expect(runs).toBeLessThanOrEqual(5);
    expect(await world.query('select reason, record_value, record_key from {schema}.dead_letters')).toEqual([
      { reason: 'exhausted', record_value: Buffer.from('100'), record_key: null },
    ]);
  });

  it('are given up at once when the handler says that trying again is useless', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() _id: string) {
        await world.write(this.durable.client, 'x');
        throw new KafkaTerminalException('no such order', 'no-order');
      }
    }
    world.kafka.produce('t', { value: '0' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(await world.effects()).toEqual([]);
    expect(await world.executions()).toMatchObject([{ state: 'dead', attempts: 1 }]);
    expect(await world.query('select reason from {schema}.dead_letters')).toEqual([{ reason: 'no-order' }]);
  });

  it('are not lost when a handler swallows the database error that aborted them', async () => {
    let failures = 1;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (id === '1' && failures-- > 0) {
          await this.durable.client.query('select no_such_column').catch(() => undefined);
        }
      }
    }
    world.kafka.produce('t', { value: '0' }, { value: '1' }, { value: '2' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['0', '1', '2']);
  });

  it('are given up with a clear error when a handler always swallows its database error', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (id === '1') await this.durable.client.query('select no_such_column').catch(() => undefined);
      }
    }
    world.kafka.produce('t', { value: '0' }, { value: '1' }, { value: '2' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['0', '2']);
    expect((await world.executions()).filter(({ state }) => state === 'dead')).toMatchObject([
      { error_name: 'TransactionAbortedError', record_offset: '1' },
    ]);
  });

  it('of a promise that outlives its handler are refused with an error that says so', async () => {
    const late = deferred<unknown>();
    const kept = deferred<TransactionClient>();

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      run(@Payload() _id: string) {
        const { durable } = this;
        kept.resolve(durable.client);
        void (async () => {
          await eventually(
            async () => (await world.executions()).length + world.kafka.records('t').length > 0,
          );
          await world.consumed('t');
          await world.write(durable.client, 'late');
        })().catch((error: unknown) => late.resolve(error));
      }
    }
    world.kafka.produce('t', { value: '0' });
    await world.start({ controllers: [Handlers] });
    expect(await late.promise).toBeInstanceOf(OutsideHandlerError);
    await expect(world.write(await kept.promise, 'late')).rejects.toThrow(/floating/);
    expect(await world.effects()).toEqual([]);
  });

  it('need a handler around them', async () => {
    @Injectable()
    class Service {
      constructor(readonly durable: DurableExecution) {}
    }
    const plain = deferred<unknown>();

    @Controller()
    class Handlers {
      constructor(private readonly service: Service) {}

      @NotDurable()
      @EventPattern('t')
      run(@Payload() _id: string) {
        try {
          plain.resolve(this.service.durable.client);
        } catch (error) {
          plain.resolve(error);
        }
      }
    }
    const app = await world.start({ controllers: [Handlers], providers: [Service] });
    const { durable } = app.get(Service);
    expect(() => durable.client).toThrow(OutsideHandlerError);
    expect(() => durable.key).toThrow(/DurableExecution\.key/);
    expect(() => durable.attempt).toThrow(OutsideHandlerError);
    await expect(durable.emit('x', 'y')).rejects.toThrow(OutsideHandlerError);
    world.kafka.produce('t', { value: '0' });
    expect(await plain.promise).toBeInstanceOf(OutsideHandlerError);
    await world.consumed('t');
    expect(await world.executions()).toEqual([]);
  });

  it('survive the loss of the connection in the middle of a group', async () => {
    let killed = false;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (id !== '3' || killed) return;
        killed = true;
        const { rows } = await this.durable.client.query<{ pid: number }>('select pg_backend_pid() as pid');
        await world.pool.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
      }
    }
    for (let id = 0; id < 6; id++) world.kafka.produce('t', { value: `${id}` });
    await world.start({ controllers: [Handlers], server: { retry: { attempts: 1 } } });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['0', '1', '2', '3', '4', '5']);
    expect((await world.executions()).filter(({ state }) => state !== 'completed')).toEqual([]);
  });
});
