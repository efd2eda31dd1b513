import { randomUUID } from 'node:crypto';
import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { of } from 'rxjs';
import { Durable, DurableExecution, DurablePool, NoTransactionError } from '../../../lib/index.js';
import { encodeStepResult } from '../../../lib/execution/step-result.js';
import { fingerprint, givenKey, positionKey } from '../../../lib/messages/idempotency-key.js';
import { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import { DurableWorld, headerText, SERVER_GROUP, valueOf } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { databaseUrl } from '../../support/ledger-schema.js';

describe('a handler in claim mode', () => {
  let world: DurableWorld;
  /** Calls to the outside world, which no rollback undoes. */
  let calls: string[];

  beforeEach(async () => {
    world = await DurableWorld.create();
    calls = [];
  });

  afterEach(() => world.dispose());

  const claims = () =>
    world.query<{ key: string; held: boolean; takeovers: number }>(
      'select key, held, takeovers from {schema}.claims order by key',
    );
  const steps = async () =>
    (
      await world.query<{ key: string; name: string }>(
        'select key, name from {schema}.steps order by key, position',
      )
    ).map(({ key, name }) => `${key}/${name}`);
  const states = async () => (await world.executions()).map(({ key, state }) => `${key} ${state}`);
  const keyed = (key: string) => ({ value: key, headers: { 'idempotency-key': key } });

  /** How often somebody found a key taken. */
  const lookups = async () => (await world.query('select 1 from {schema}.fence where epoch > 1')).length;

  /** A process that claimed the topic's first record of a key, or its second one by position, and did no more. */
  async function deadProcess(handler: string, key: string | null, lease: number) {
    const ledger = new PostgresLedger({ connection: databaseUrl(), schema: world.schema, poolSize: 2 });
    await ledger.open();
    const admin = world.kafka.createAdmin();
    await admin.connect();
    const { topicId } = (await admin.describeTopics(['t']))[0]!;
    await admin.disconnect();
    const scope = { group: SERVER_GROUP, handler };
    const { fence } = await ledger.takeFence({ scope, topic: 't', topicId, partition: 0 }, async () => true);
    const offset = key === null ? 1n : 0n;
    const encoded = (key === null ? positionKey(topicId, 0, offset) : givenKey('given', key, 'a test'))
      .encoded;
    const record = { topic: 't', partition: 0, offset, timestamp: 0, key: null, headers: [] };
    const content = fingerprint({ ...record, value: Buffer.from(key ?? 'by position') });
    const token = randomUUID();
    const claim = { key: encoded, fingerprint: content, offset };
    expect(await ledger.claims.claim({ fence, token }, [claim], lease)).toEqual(['claimed']);
    return {
      record: (result: Buffer) =>
        ledger.steps.record({ scope, key: encoded, step: { position: 0, name: 'charge', result }, token }),
      leaseOver: () => ledger.claims.renew([token], 0).then(() => ledger.close()),
      close: () => ledger.close(),
    };
  }

  it('runs without a transaction, and commits its ending, its reply and what it emits together', async () => {
    const open: number[] = [];

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim' })
      @MessagePattern('ask')
      async ask(@Payload() { id }: { id: string }) {
        calls.push(id);
        const [row] = await world.query<{ n: number }>(
          `select count(*)::int as n from pg_stat_activity where state like 'idle in transaction%' and query like '%${world.schema}%'`,
        );
        open.push(row!.n);
        expect(await states()).toEqual([`${this.durable.key} claimed`]);
        await this.durable.emit('out', { id });
        expect(world.kafka.records('out')).toEqual([]);
        return { id, run: calls.length };
      }
    }
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.consumed('ask');
    expect(calls).toEqual(['a']);
    expect(open).toEqual([0]);
    expect(world.replies('ask').map(valueOf)).toEqual([
      { id: 'a', run: 1 },
      { id: 'a', run: 1 },
    ]);
    expect(world.kafka.records('out').map(valueOf)).toEqual([{ id: 'a' }]);
    expect(await states()).toEqual(['k completed']);
    expect(await claims()).toEqual([]);
  });

  it('runs once for each of many records, in their order, whatever their kind of key', async () => {
    @Controller()
    class Handlers {
      @EventPattern('t')
      run(@Payload() id: string) {
        calls.push(id);
      }
    }
    const ids = Array.from({ length: 60 }, (_, n) => `e${n}`);
    for (const [n, id] of ids.entries()) {
      world.kafka.produce('t', n % 2 === 0 ? keyed(id) : { value: id });
    }
    world.kafka.produce('t', keyed('e0'), keyed('e2'));
    await world.start({ controllers: [Handlers], durable: { mode: 'claim' } });
    await world.consumed('t');
    expect(calls).toEqual(ids);
    await world.rewind('t');
    await world.start({ controllers: [Handlers], durable: { mode: 'claim' } });
    await world.consumed('t');
    expect(calls).toEqual(ids);
    expect(await claims()).toEqual([]);
  });

  it('that fails undoes nobody else, and goes on behind the steps that it had recorded', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim' })
      @EventPattern('t')
      async run(@Payload() id: string) {
        const receipt = await this.durable.step('charge', () => {
          calls.push(`charge ${id}`);
          return { id, at: new Date(5), cents: 7n };
        });
        expect(receipt).toEqual({ id, at: new Date(5), cents: 7n });
        await this.durable.step('mail', () => calls.push(`mail ${id}`));
        if (id === 'b' && this.durable.attempt < 3) throw new Error('not yet');
        await this.durable.transaction('book', (client) => world.write(client, id));
      }
    }
    world.kafka.produce('t', keyed('a'), keyed('b'), keyed('c'));
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(calls).toEqual(['a', 'b', 'c'].flatMap((id) => [`charge ${id}`, `mail ${id}`]));
    expect(await world.effects()).toEqual(['a', 'b', 'c']);
    expect(await states()).toEqual(['a completed', 'b completed', 'c completed']);
    expect(await steps()).toEqual(
      ['a', 'b', 'c'].flatMap((id) => [`${id}/charge`, `${id}/mail`, `${id}/book`]),
    );
    expect(await claims()).toEqual([]);
  });

  it('that asks for another step than the recorded one stops, whatever it does with the error', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim' })
      @EventPattern('t')
      async run(@Payload() _payload: unknown) {
        const first = this.durable.attempt === 1;
        await this.durable.step(first ? 'charge' : 'refund', () => calls.push('step')).catch(() => undefined);
        await this.durable.step('next', () => calls.push('next')).catch(() => undefined);
        if (first) throw new Error('once');
      }
    }
    world.kafka.produce('t', keyed('a'));
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(calls).toEqual(['step', 'next']);
    const [execution] = await world.executions();
    expect(execution).toMatchObject({ state: 'dead', error_name: 'NonDeterministicStepError' });
    const [letter] = await world.query<{ reason: string; error_message: string }>(
      'select reason, error_message from {schema}.dead_letters',
    );
    expect(letter!.reason).toBe('non-deterministic');
    expect(letter!.error_message).toMatch(/"charge".*"refund"/);
  });

  it('has no client and no pool but within transaction(), whose writes, steps and records commit together', async () => {
    const errors: unknown[] = [];

    @Controller()
    class Handlers {
      constructor(
        private readonly durable: DurableExecution,
        private readonly pool: DurablePool,
      ) {}

      @Durable({ mode: 'claim' })
      @EventPattern('t')
      async run(@Payload() _payload: unknown) {
        const { durable, pool } = this;
        const refused = async (use: () => unknown) => {
          try {
            await use();
          } catch (error) {
            errors.push(error);
          }
        };
        await refused(() => durable.client);
        await refused(() => pool.query('select 1'));
        await durable.step('in a step', () => refused(() => durable.client));
        await durable.transaction('write', async (client) => {
          await world.write(client, 'argument');
          await world.write(durable.client, 'client');
          await world.write(pool, 'pool');
          await durable.emit('out', { attempt: durable.attempt });
        });
        const failing = durable.transaction('fail', async (client) => {
          await world.write(client, 'undone');
          await durable.emit('out', 'undone');
          throw new Error('mine');
        });
        await expect(failing).rejects.toThrow('mine');
        if (durable.attempt === 1) throw new Error('once');
      }
    }
    world.kafka.produce('t', keyed('a'));
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(errors).toHaveLength(5);
    for (const error of errors) {
      expect(error).toBeInstanceOf(NoTransactionError);
      expect(String(error)).toContain('durable.transaction(name, fn)');
    }
    expect(await world.effects()).toEqual(['argument', 'client', 'pool']);
    expect(world.kafka.records('out').map(valueOf)).toEqual([{ attempt: 1 }]);
    expect(await states()).toEqual(['a completed']);
  });

  it('beside one in transaction mode on a topic: each does its own, once', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim' })
      @EventPattern('t')
      charge(@Payload() { id }: { id: string }) {
        calls.push(id);
      }

      @EventPattern('t')
      book(@Payload() { id }: { id: string }) {
        return world.write(this.durable.client, id);
      }

      @MessagePattern('t')
      @Durable({ mode: 'claim' })
      answer(@Payload() { id }: { id: string }) {
        return `answer to ${id}`;
      }
    }
    const ids = Array.from({ length: 10 }, (_, n) => `e${n}`);
    for (const id of ids) world.request('t', { id }, { idempotencyKey: id });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(calls).toEqual(ids);
    expect(await world.effects()).toEqual(ids);
    expect(world.replies('t').map(({ value }) => String(value))).toEqual(ids.map((id) => `answer to ${id}`));
    expect(await world.executions()).toHaveLength(30);
  });

  it('fails a request for good with a stored answer, and a new request goes on behind its steps', async () => {
    let broken = true;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim' })
      @MessagePattern('ask')
      async ask(@Payload() _payload: unknown) {
        await this.durable.step('charge', () => calls.push('charge'));
        if (broken) throw new Error('broken');
        return of('a', 'b');
      }
    }
    world.request('ask', {}, { idempotencyKey: 'k' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(await states()).toEqual(['k failed']);
    await world.rewind('ask');
    broken = false;
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(await states()).toEqual(['k failed']);
    world.request('ask', {}, { idempotencyKey: 'k' });
    world.request('ask', {}, { idempotencyKey: 'k' });
    await world.consumed('ask');
    expect(calls).toEqual(['charge']);
    expect(await states()).toEqual(['k completed']);
    const replies = world.replies('ask');
    const errorOf = (index: number) => headerText(replies[index]!, 'kafka_nest-err');
    expect(errorOf(0)).toBeDefined();
    expect(errorOf(1)).toBe(errorOf(0));
    const streams = replies.slice(2).map(({ value }) => String(value));
    expect(streams.slice(0, streams.length / 2)).toEqual(streams.slice(streams.length / 2));
    expect(streams.slice(0, 2)).toEqual(['a', 'b']);
  });

  it('that is dead or skipped leaves no claim', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim' })
      @EventPattern('t')
      async run(@Payload() id: string) {
        if (id !== 'b') return;
        await this.durable.step('before', () => calls.push(id));
        throw new Error('always');
      }
    }
    world.kafka.produce('t', keyed('a'), keyed('b'), keyed('c'), { value: 'b' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect((await world.executions()).map(({ state }) => state)).toEqual([
      'completed',
      'dead',
      'completed',
      'dead',
    ]);
    expect(calls).toEqual(['b', 'b']);
    expect(await claims()).toEqual([]);
  });

  it('that takes longer than its lease keeps its claim, and a twin elsewhere waits for its reply', async () => {
    world.kafka.createTopic('ask', 2);
    let release: (() => void) | undefined;

    @Controller()
    class Handlers {
      @Durable({ mode: 'claim' })
      @MessagePattern('ask')
      async ask(@Payload() _payload: unknown) {
        calls.push('run');
        await new Promise<void>((resolve) => (release = resolve));
        return { run: calls.length };
      }
    }
    const request = (partition: number) =>
      world.kafka.produce('ask', {
        partition,
        value: '{}',
        headers: {
          kafka_correlationId: `c${partition}`,
          kafka_replyTopic: 'ask.reply',
          kafka_replyPartition: '0',
          'idempotency-key': 'k',
        },
      });
    request(0);
    await world.start({ controllers: [Handlers], durable: { lease: 3_000 } });
    await eventually(async () => calls.length === 1);
    request(1);
    const [before] = await world.query<{ until: Date }>('select lease_until as until from {schema}.claims');
    await eventually(async () => {
      const [now] = await world.query<{ later: boolean }>(
        `select clock_timestamp() > $1::timestamptz + interval '500 ms' and bool_and(held) as later from {schema}.claims`,
        [before!.until],
      );
      return now!.later;
    });
    expect(calls).toEqual(['run']);
    release!();
    await world.consumed('ask');
    expect(calls).toEqual(['run']);
    expect(world.replies('ask').map(valueOf)).toEqual([{ run: 1 }, { run: 1 }]);
  });

  it('whose claim somebody else took is told so, stores nothing, and its record waits for the other', async () => {
    let heard: unknown;
    let late: unknown;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim' })
      @EventPattern('t')
      async run(@Payload() _payload: unknown) {
        calls.push('run');
        await this.durable.emit('out', 'never');
        await this.durable
          .step('first', (signal) => {
            // Another process takes the claim over.
            void world.query(
              `update {schema}.claim set owner = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 hour'`,
            );
            return new Promise<void>((resolve) => {
              signal.addEventListener('abort', () => {
                heard = signal.reason;
                resolve();
              });
            });
          })
          .catch((error: unknown) => (late = error));
      }
    }
    world.kafka.produce('t', keyed('k'));
    await world.start({ controllers: [Handlers], durable: { lease: 300 } });
    await eventually(async () => late !== undefined);
    expect(heard).toMatchObject({ code: 'KT_LEASE_LOST' });
    expect(late).toMatchObject({ code: 'KT_LEASE_LOST' });
    // It ends there.
    await world.query(
      `with done as (delete from {schema}.claim returning key)
       update {schema}.execution e set state = 1 from done where e.key = done.key`,
    );
    await world.consumed('t');
    expect(calls).toEqual(['run']);
    expect(await steps()).toEqual([]);
    expect(world.kafka.records('out')).toEqual([]);
    expect(world.log.matching('is dead')).toEqual([]);
  });

  it('that was given up at its timeout keeps its claim until it returns', async () => {
    const ends: (() => void)[] = [];

    @Controller()
    class Handlers {
      @Durable({ mode: 'claim' })
      @EventPattern('t')
      run(@Payload() _payload: unknown) {
        calls.push('run');
        if (calls.length === 1) return new Promise<void>((resolve) => ends.push(resolve));
        return undefined;
      }
    }
    world.kafka.produce('t', keyed('k'));
    await world.start({
      controllers: [Handlers],
      server: { handlerTimeout: 1_000, retry: { attempts: 3, initial: 1, max: 5 } },
    });
    await eventually(async () => world.log.matching('did not finish within').length > 0);
    expect(calls).toEqual(['run']);
    ends[0]!();
    await world.consumed('t');
    expect(calls).toEqual(['run', 'run']);
    expect(await states()).toEqual(['k completed']);
  });

  it('finds what a process left that died: its claim is taken over when the lease is over, not before', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim', name: 'pay' })
      @EventPattern('t')
      async run(@Payload() id: string) {
        calls.push(await this.durable.step('charge', () => `charged ${id}`));
      }
    }
    world.kafka.createTopic('t', 2);
    const dead = await deadProcess('pay', 'left', 60_000);
    await dead.record(encodeStepResult('charge', 'charged by the dead'));
    world.kafka.produce('t', { ...keyed('left'), partition: 0 });
    await world.start({ controllers: [Handlers] });
    for (let n = 0; n < 5; n++) {
      world.kafka.produce('t', { ...keyed(`other ${n}`), partition: 1 });
      await eventually(async () => calls.length === n + 1);
    }
    expect(calls).not.toContain('charged by the dead');
    await dead.leaseOver();
    await world.consumed('t');
    expect(calls.filter((call) => !call.includes('other'))).toEqual(['charged by the dead']);
    expect((await states())[0]).toBe('left completed');
    expect(await claims()).toEqual([]);
  });

  it.each(['transaction', 'claim'] as const)(
    'is waited for and taken over by the same handler in %s mode, with its steps',
    async (mode) => {
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @Durable({ mode, name: 'pay' })
        @EventPattern('t')
        async run(@Payload() id: string) {
          calls.push(await this.durable.step('charge', () => `charged ${id}`));
          await this.durable.transaction('book', (client) => world.write(client, id));
        }
      }
      world.kafka.createTopic('t', 1);
      for (const key of ['left', null]) {
        const dead = await deadProcess('pay', key, 60_000);
        await dead.record(encodeStepResult('charge', `charged ${key} before`));
        await dead.close();
      }
      world.kafka.produce('t', keyed('left'), { value: 'by position' }, keyed('other'));
      await world.start({ controllers: [Handlers] });
      await eventually(async () => (await lookups()) > 0);
      expect(calls).toEqual([]);
      await world.query('update {schema}.claim set lease_until = clock_timestamp()');
      await world.consumed('t');
      expect(calls).toEqual(['charged left before', 'charged null before', 'charged other']);
      expect(await world.effects()).toEqual(['left', 'by position', 'other']);
      expect(await claims()).toEqual([]);
    },
  );

  it.each([
    [{ mode: 'claims' }, 'DurableModule.mode'],
    [{ lease: 99 }, 'DurableModule.lease'],
  ])('is refused at start with %j', async (durable, option) => {
    const start = world.build({ controllers: [], durable: durable as never });
    await expect(start).rejects.toThrow(option);
    expect(() => Durable({ mode: 'other' as never })).toThrow('@Durable.mode');
  });
});
