import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import {
  DurableExecution,
  DurablePool,
  KafkaTerminalException,
  type KafkaTransportOptions,
  type KafkaDeliveryContext,
} from '../../../lib/index.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { writer } from '../../support/writer.js';

const RECORDS = 240;
const KEYS = 12;

const keyed = (ordering: 'key' | 'none', concurrent = false): KafkaTransportOptions => ({
  ordering,
  groupCommit: { maxRecords: 16, concurrent },
});

describe('durable handlers whose records have no order in all', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  /** `k3:17` for the record at 17 under key k3. Every other record brings an idempotency key of its own. */
  function produce(topic: string, count = RECORDS, first = 0): string[] {
    const texts = Array.from({ length: count }, (_, index) => `k${(first + index) % KEYS}:${first + index}`);
    for (const text of texts) {
      const [key] = text.split(':');
      const headers = Number(text.split(':')[1]) % 2 ? { 'idempotency-key': `id-${text}` } : {};
      world.kafka.produce(topic, { key: key!, value: text, headers });
    }
    return texts;
  }

  /** Effects of each key, in the order of their writing. */
  async function effectsByKey(): Promise<Map<string, number[]>> {
    const byKey = new Map<string, number[]>();
    for (const text of await world.effects()) {
      const [key, position] = text.split(':') as [string, string];
      byKey.set(key, [...(byKey.get(key) ?? []), Number(position)]);
    }
    return byKey;
  }

  async function expectEachOnceInOrder(texts: readonly string[]): Promise<void> {
    expect([...(await world.effects())].sort()).toEqual([...texts].sort());
    for (const positions of (await effectsByKey()).values()) {
      expect(positions).toEqual([...positions].sort((left, right) => left - right));
    }
  }

  const fences = () =>
    world.query<{ next_offset: string; partition: number }>(
      'select partition, next_offset from {schema}.fence order by partition',
    );

  describe.each([false, true])('within a group at once: %s', (concurrent) => {
    it('each keep their keys in order, with failures and retries in between', async () => {
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() text: string) {
          await world.write(this.durable.client, text);
          const position = Number(text.split(':')[1]);
          if (position % 40 === 7 && this.durable.attempt < 3) throw new Error('not yet');
          if (position % 50 === 9 && this.durable.attempt < 2) {
            await this.durable.client.query('select no_such_column');
          }
        }
      }
      const texts = produce('t');
      await world.start({ controllers: [Handlers], server: keyed('key', concurrent) });
      await world.consumed('t');
      await expectEachOnceInOrder(texts);
      expect(new Set((await world.executions()).map(({ state }) => state))).toEqual(new Set(['completed']));
    });

    it('suppress everything after a rewind, and the fence moves up behind them', async () => {
      const log: string[] = [];

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() text: string) {
          log.push(text);
          await world.write(this.durable.client, text);
        }
      }
      const texts = produce('t');
      await world.start({ controllers: [Handlers], server: keyed('key', concurrent) });
      await world.consumed('t');
      await eventually(async () => (await fences()).every(({ next_offset }) => Number(next_offset) > 0));
      // A run that was undone with the rest of its group has come again.
      const calls = log.length;
      expect(calls).toBeGreaterThanOrEqual(RECORDS);
      await world.rewind('t');
      await world.start({ controllers: [Handlers], server: keyed('key', concurrent) });
      await world.consumed('t');
      expect(log.length).toBe(calls);
      // As if the fence had never been moved: then the rows tell.
      await world.rewind('t');
      await world.query('update {schema}.fence set next_offset = 0, previous_offset = 0');
      await world.start({ controllers: [Handlers], server: keyed('key', concurrent) });
      await world.consumed('t');
      expect(log.length).toBe(calls);
      await expectEachOnceInOrder(texts);
    });

    it('go on while one key is stuck, whose record holds the offset and the fence', async () => {
      const stuck = deferred();
      let isStuck = true;

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() text: string) {
          if (text === 'k5:5' && isStuck) await stuck.promise;
          await world.write(this.durable.client, text);
        }
      }
      const texts = produce('t');
      await world.start({ controllers: [Handlers], server: keyed('key', concurrent) });
      await eventually(async () => (await world.effects()).length === RECORDS - RECORDS / KEYS);
      expect((await effectsByKey()).has('k5')).toBe(false);
      await eventually(async () => Number((await fences())[0]?.next_offset) === 5);
      expect(world.kafka.committed('tests-server', 't').map(({ offset }) => offset)).toEqual([5n]);
      isStuck = false;
      stuck.resolve();
      await world.consumed('t');
      await expectEachOnceInOrder(texts);
    });

    it('run a key that was used under two record keys once, and refuse it for another content', async () => {
      const headers = { 'idempotency-key': 'same' };
      const fingerprinted = { key: 'a', value: 'one', headers };
      for (let copy = 0; copy < 5; copy++) world.kafka.produce('t', fingerprinted);
      world.kafka.produce('t', { key: 'b', value: 'two', headers }, { key: 'c', value: 'three' });
      await world.start({ controllers: [writer(world)], server: keyed('none', concurrent) });
      await world.consumed('t');
      const first = await world.effects();
      expect(first).toHaveLength(2);
      expect(first).toContain('three');
      const dead = async () => (await world.executions()).filter(({ state }) => state === 'dead');
      const count = (await dead()).length;
      expect(count).toBeGreaterThanOrEqual(1);
      // Read again without the fence: what was given up is not given up once more.
      await world.rewind('t');
      await world.query('update {schema}.fence set next_offset = 0, previous_offset = 0');
      await world.start({
        controllers: [writer(world)],
        server: { ...keyed('none', concurrent), deadLetter: true },
      });
      await world.consumed('t');
      expect(await world.effects()).toEqual(first);
      expect(await dead()).toHaveLength(count);
      expect(world.kafka.records('t.dlt')).toEqual([]);
    });

    it('give a record up and go on behind it, with the fence left to what is below', async () => {
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() text: string) {
          await world.write(this.durable.client, text);
          if (text === 'k3:15') throw new KafkaTerminalException('no', 'refused');
        }
      }
      const texts = produce('t', 60);
      await world.start({
        controllers: [Handlers],
        server: { ...keyed('key', concurrent), deadLetter: true },
      });
      await world.consumed('t');
      await expectEachOnceInOrder(texts.filter((text) => text !== 'k3:15'));
      expect(world.kafka.records('t.dlt')).toHaveLength(1);
      const dead = (await world.executions()).filter(({ state }) => state !== 'completed');
      expect(dead).toMatchObject([{ state: 'dead', record_offset: '15' }]);
    });

    it('are exact when the ordering changes across a restart', async () => {
      const stuck = deferred();
      let isStuck = true;

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() text: string) {
          if (text === 'k5:5' && isStuck) await stuck.promise;
          await world.write(this.durable.client, text);
        }
      }
      const texts = produce('t');
      const closing = { shutdownTimeout: 100 };
      await world.start({ controllers: [Handlers], server: { ...keyed('key', concurrent), ...closing } });
      // Most is done, above what holds offset and fence.
      await eventually(async () => (await world.effects()).length === RECORDS - RECORDS / KEYS);
      await world.closeAll();
      isStuck = false;
      stuck.resolve();
      await world.start({ controllers: [Handlers] });
      await world.consumed('t');
      await expectEachOnceInOrder(texts);
      expect((await fences()).map(({ next_offset }) => Number(next_offset))).toEqual([RECORDS]);
      await world.rewind('t');
      texts.push(...produce('t', 60, RECORDS));
      await world.start({ controllers: [Handlers], server: keyed('key', concurrent) });
      await world.consumed('t');
      await expectEachOnceInOrder(texts);
    });

    it('are exact when a second instance comes, and when one goes', async () => {
      world.kafka.createTopic('t', 4);
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() text: string) {
          await world.write(this.durable.client, text);
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
      const texts = produce('t', 600);
      const first = await world.start({ controllers: [Handlers], server: keyed('key', concurrent) });
      await eventually(async () => (await world.effects()).length > 50);
      await world.start({ controllers: [Handlers], server: keyed('key', concurrent) });
      texts.push(...produce('t', 600, 600));
      await eventually(async () => (await world.effects()).length > 300);
      await first.close();
      await world.consumed('t');
      await expectEachOnceInOrder(texts);
    });
  });

  describe('in a group whose handlers run at once', () => {
    const statements = [
      'begin',
      'savepoint a',
      '  /* x */ set local statement_timeout = 1',
      "select set_config('a.b', 'c', true)",
      'select pg_advisory_xact_lock(1)',
      'select 1; rollback to savepoint a',
      'lock table pg_class',
    ];

    it.each(statements)('are refused "%s", by an error that names the option', async (statement) => {
      const errors: unknown[] = [];

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() text: string) {
          await world.write(this.durable.client, text);
          await this.durable.client.query(statement).catch((error: unknown) => errors.push(error));
        }
      }
      world.kafka.produce('t', { key: 'a', value: '1' }, { key: 'b', value: '2' });
      await world.start({ controllers: [Handlers], server: keyed('key', true) });
      await world.consumed('t');
      expect(errors).toHaveLength(2);
      for (const error of errors) expect(String(error)).toContain('groupCommit.concurrent');
      expect((await world.effects()).sort()).toEqual(['1', '2']);
    });

    it('are refused a transaction of DurablePool, and keep its everyday queries', async () => {
      const errors: unknown[] = [];

      @Controller()
      class Handlers {
        constructor(private readonly pool: DurablePool) {}

        @EventPattern('t')
        async run(@Payload() text: string) {
          await world.write(this.pool, text);
          const client = await this.pool.connect();
          await client.query('begin').catch((error: unknown) => errors.push(error));
          client.release();
        }
      }
      world.kafka.produce('t', { key: 'a', value: '1' }, { key: 'b', value: '2' });
      await world.start({ controllers: [Handlers], server: keyed('key', true) });
      await world.consumed('t');
      expect(errors).toHaveLength(2);
      for (const error of errors) expect(String(error)).toContain('groupCommit.concurrent');
      expect((await world.effects()).sort()).toEqual(['1', '2']);
    });

    it('are at work at the same time, on one transaction', async () => {
      const both = deferred();
      const backends = new Set<number>();
      let running = 0;

      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('t')
        async run(@Payload() text: string, @Ctx() context: unknown) {
          if (++running === 3) both.resolve();
          await both.promise;
          expect((context as KafkaDeliveryContext).key).toBeDefined();
          const { rows } = await this.durable.client.query<{ pid: number }>(
            'select pg_backend_pid() as pid, txid_current()',
          );
          backends.add(rows[0]!.pid);
          await world.write(this.durable.client, text);
        }
      }
      for (const key of 'abc') world.kafka.produce('t', { key, value: key });
      await world.start({ controllers: [Handlers], server: { ...keyed('key', true), concurrency: 1 } });
      await world.consumed('t');
      expect(backends.size).toBe(1);
      expect((await world.effects()).sort()).toEqual(['a', 'b', 'c']);
    });
  });
});
