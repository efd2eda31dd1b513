import { Controller, UseFilters } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution, KafkaDeliveryContext, KafkaMaxRetryExceptionFilter } from '../../../lib/index.js';
import { DurableWorld, headerText } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

/** Longer than any test. */
const HOUR = 3_600_000;

describe('attempts of a durable handler', () => {
  let world: DurableWorld;
  let attempts: number[];
  let effects: string[];
  /** What the next runs for the bad record throw; the last one is thrown for ever. */
  let errors: object[];
  let healed: boolean;

  beforeEach(async () => {
    world = await DurableWorld.create();
    attempts = [];
    effects = [];
    healed = false;
    errors = [new Error('no')];
  });

  afterEach(() => world.dispose());

  const run = (id: string, attempt: number) => {
    if (id !== 'bad' || healed) return void effects.push(id);
    attempts.push(attempt);
    throw errors.length > 1 ? errors.shift()! : errors[0]!;
  };

  @Controller()
  class Handlers {
    constructor(readonly durable: DurableExecution) {}

    @EventPattern<string>('t')
    handle(@Payload() id: string, @Ctx() context: KafkaDeliveryContext) {
      expect(this.durable.attempt).toBe(context.attempt);
      run(id, context.attempt);
    }
  }

  const late = (error: object) => Object.assign(error, { retryAfter: HOUR });
  const noted = () =>
    world.query<{ failures: number; error_name: string; record_offset: string }>(
      'select failures, error_name, record_offset from {schema}.retries',
    );
  const failed = (failures: number) =>
    eventually(async () => (await noted()).some((row) => row.failures >= failures));

  it('go on where they stopped after a restart, and so does the time of the first failure', async () => {
    errors = [new TypeError('no'), late(new TypeError('no'))];
    world.kafka.produce('t', { value: 'a' }, { value: 'bad' }, { value: 'b' });
    await world.start({
      controllers: [Handlers],
      server: { deadLetter: true, retry: { attempts: 4, initial: 1 } },
    });
    await failed(2);
    expect(await noted()).toEqual([{ failures: 2, error_name: 'TypeError', record_offset: '1' }]);
    const before = Date.now();
    await world.closeAll();
    errors = [new Error('still')];
    await world.start({
      controllers: [Handlers],
      server: { deadLetter: true, retry: { attempts: 4, initial: 1 } },
    });
    await world.consumed('t');
    expect(attempts).toEqual([1, 2, 3, 4]);
    expect(effects.at(-1)).toBe('b');
    const [letter] = world.kafka.records('t.dlt');
    expect(headerText(letter!, 'dlt-attempts')).toBe('4');
    expect(Date.parse(headerText(letter!, 'dlt-first-failure')!)).toBeLessThanOrEqual(before);
    expect((await world.executions())[0]).toMatchObject({ state: 'dead', attempts: 4 });
    await eventually(async () => (await world.query('select * from {schema}.retry')).length === 0);
  });

  it('leave nothing behind once the record succeeds', async () => {
    errors = [new Error('no')];
    world.kafka.produce('t', { value: 'bad' });
    await world.start({
      controllers: [Handlers],
      server: { retry: { attempts: 1_000, initial: 1, max: 1 } },
    });
    await failed(3);
    healed = true;
    await world.consumed('t');
    await eventually(async () => (await world.query('select * from {schema}.retry')).length === 0);
    expect(await world.executions()).toEqual([]);
  });

  it('are those that a filter counts, also across a restart', async () => {
    const skipped: unknown[] = [];

    @UseFilters(new KafkaMaxRetryExceptionFilter(4, ({ value }) => void skipped.push(value)))
    @Controller()
    class Filtered {
      @EventPattern<string>('t')
      handle(@Payload() id: string, @Ctx() context: KafkaDeliveryContext) {
        run(id, context.attempt);
      }
    }
    errors = [new Error('no'), late(new Error('no'))];
    world.kafka.produce('t', { value: 'bad' }, { value: 'b' });
    await world.start({ controllers: [Filtered] });
    await failed(2);
    expect(skipped).toEqual([]);
    await world.closeAll();
    errors = [new Error('no')];
    await world.start({ controllers: [Filtered] });
    await world.consumed('t');
    expect(attempts).toEqual([1, 2, 3, 4]);
    expect(skipped).toEqual(['bad']);
    expect((await world.executions())[0]).toMatchObject({ state: 'skipped' });
  });

  it('are over at the deadline, however many are left', async () => {
    world.kafka.produce('t', { value: 'bad' }, { value: 'b' });
    await world.start({
      controllers: [Handlers],
      server: { retry: { attempts: 1_000_000, initial: 1, max: 5, deadline: 100 } },
    });
    await world.consumed('t');
    expect(attempts.length).toBeGreaterThan(1);
    expect((await world.executions())[0]).toMatchObject({ state: 'dead' });
  });

  it('are over at once where the error wants to wait for longer than the deadline', async () => {
    errors = [late(new Error('no'))];
    world.kafka.produce('t', { value: 'bad' }, { value: 'b' });
    await world.start({ controllers: [Handlers], server: { retry: { attempts: 9, deadline: HOUR / 2 } } });
    await world.consumed('t');
    expect(attempts).toEqual([1]);
  });

  it('wait for as long as the error says rather than for the usual delay', async () => {
    errors = [Object.assign(new Error('no'), { retryAfter: new Date(0) })];
    world.kafka.produce('t', { value: 'bad' });
    await world.start({
      controllers: [Handlers],
      server: { retry: { attempts: 3, initial: HOUR, max: HOUR, jitter: false } },
    });
    await world.consumed('t');
    expect(attempts).toEqual([1, 2, 3]);
  });
});
