import { Controller, UseFilters } from '@nestjs/common';
import {
  EventPattern,
  KafkaRetriableException,
  MessagePattern,
  Payload,
  RpcException,
} from '@nestjs/microservices';
import { DurableExecution, KafkaMaxRetryExceptionFilter } from '../../../lib/index.js';
import { InvalidOptionError } from '../../../lib/errors/errors.js';
import { DocumentedMaxRetryFilter } from '../../support/documented-max-retry.filter.js';
import { DurableWorld, headerText } from '../../support/durable-app.js';
import { KafkaApps } from '../../support/kafka-app.js';
import { ManualClock } from '../../unit/transport/manual-clock.js';

describe('KafkaMaxRetryExceptionFilter', () => {
  let world: DurableWorld;
  let runs: string[];
  /** Ids that handlers fail for. */
  let bad: Set<string>;

  beforeEach(async () => {
    world = await DurableWorld.create();
    runs = [];
    bad = new Set();
  });

  afterEach(() => world.dispose());

  const run = (id: string) => {
    runs.push(id);
    if (bad.has(id)) throw new Error(`${id} fails`);
  };

  const produce = (topic: string, ...ids: string[]) =>
    world.kafka.produce(topic, ...ids.map((id) => ({ value: id })));

  const count = (id: string) => runs.filter((each) => each === id).length;

  it.each([0, 1.5, Number.NaN, '3' as never])('refuses maxRetries %p', (maxRetries) => {
    expect(() => new KafkaMaxRetryExceptionFilter(maxRetries)).toThrow(InvalidOptionError);
  });

  it('skips at class level, after the skip handler, and goes on with the next record', async () => {
    const skipped: unknown[] = [];
    const filter = new KafkaMaxRetryExceptionFilter(3, async ({ value }) => {
      await Promise.resolve();
      skipped.push(value);
    });

    @UseFilters(filter)
    @Controller()
    class Handlers {
      @EventPattern('one')
      one(@Payload() id: string) {
        run(id);
      }
    }
    bad.add('b');
    produce('one', 'a', 'b', 'c');
    await world.start({ controllers: [Handlers], durable: false });
    await world.consumed('one');
    expect(runs).toEqual(['a', 'b', 'b', 'b', 'c']);
    expect(skipped).toEqual(['b']);
    expect(filter.state).toBe('open');
  });

  it('has its own count per method, whatever "retry" says', async () => {
    @Controller()
    class Handlers {
      @UseFilters(new KafkaMaxRetryExceptionFilter(2))
      @EventPattern('two')
      two(@Payload() id: string) {
        run(id);
      }

      @UseFilters(new KafkaMaxRetryExceptionFilter(5))
      @EventPattern('five')
      five(@Payload() id: string) {
        run(id);
      }
    }
    for (const id of ['x', 'y']) bad.add(id);
    produce('two', 'x');
    produce('five', 'y');
    await world.start({ controllers: [Handlers], durable: false });
    await world.consumed('two');
    await world.consumed('five');
    expect([count('x'), count('y')]).toEqual([2, 5]);
  });

  it('skips at once while the circuit is open, and counts again once it is closed', async () => {
    const clock = new ManualClock();
    const filter = new KafkaMaxRetryExceptionFilter(3, undefined, { circuitResetTimeout: 1_000, clock });
    const states: string[] = [];
    filter.state$.subscribe((state) => states.push(state));

    @UseFilters(filter)
    @Controller()
    class Handlers {
      @EventPattern('circuit')
      one(@Payload() id: string) {
        run(id);
      }
    }
    for (const id of ['a', 'b', 'd']) bad.add(id);
    produce('circuit', 'a', 'b', 'c');
    await world.start({ controllers: [Handlers], durable: false });
    await world.consumed('circuit');
    expect(runs).toEqual(['a', 'a', 'a', 'b', 'c']);
    await clock.advance(1_000);
    produce('circuit', 'd');
    await world.consumed('circuit');
    expect(count('d')).toBe(3);
    expect(states).toEqual(['closed', 'open', 'closed', 'open']);
  });

  it('tries again where the skip handler fails', async () => {
    let calls = 0;
    const filter = new KafkaMaxRetryExceptionFilter(2, () => {
      if (++calls < 3) throw new Error('not now');
    });

    @Controller()
    class Handlers {
      @UseFilters(filter)
      @EventPattern('skip')
      one(@Payload() id: string) {
        run(id);
      }
    }
    bad.add('a');
    produce('skip', 'a');
    await world.start({ controllers: [Handlers], durable: false });
    await world.consumed('skip');
    expect([count('a'), calls]).toEqual([4, 3]);
  });

  it.each([
    ['without DurableModule', false],
    ['with DurableModule', {}],
  ] as const)(
    'answers requests %s: errors at once, KafkaRetriableException after maxRetries',
    async (_, durable) => {
      const skipped: unknown[] = [];

      @UseFilters(new KafkaMaxRetryExceptionFilter(2, ({ value }) => void skipped.push(value)))
      @Controller()
      class Handlers {
        @MessagePattern('ask')
        ask(@Payload() { id }: { id: string }) {
          runs.push(id);
          if (id === 'plain') throw new Error('secret');
          if (id === 'rpc') throw new RpcException({ code: 7 });
          throw new KafkaRetriableException('later');
        }
      }
      for (const id of ['plain', 'rpc', 'retriable']) world.request('ask', { id });
      await world.start({ controllers: [Handlers], durable });
      await world.consumed('ask');
      expect(
        world.replies('ask').map((reply) => JSON.parse(headerText(reply, 'kafka_nest-err')!) as unknown),
      ).toEqual([
        { status: 'error', message: 'Internal server error' },
        { code: 7 },
        { status: 'error', message: 'later' },
      ]);
      expect(skipped).toEqual([{ id: 'retriable' }]);
      expect(runs).toEqual(['plain', 'rpc', 'retriable', 'retriable']);
    },
  );

  it('in a durable handler undoes its writes, keeps those of its neighbours, and has the ledger say "skipped"', async () => {
    const skipped: unknown[] = [];

    @UseFilters(new KafkaMaxRetryExceptionFilter(3, ({ value }) => void skipped.push(value)))
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('durable')
      async one(@Payload() id: string) {
        await world.write(this.durable.client, id);
        run(id);
      }
    }
    bad.add('b');
    produce('durable', 'a', 'b', 'c');
    await world.start({ controllers: [Handlers] });
    await world.consumed('durable');
    expect(await world.effects()).toEqual(['a', 'c']);
    expect(skipped).toEqual(['b']);
    const rows = (await world.executions()).map(({ record_offset, state }) => [record_offset, state]);
    expect(rows).toContainEqual(['1', 'skipped']);
    expect(rows).not.toContainEqual(['0', 'skipped']);
  });

  it('counts nothing that the database did', async () => {
    const filter = new KafkaMaxRetryExceptionFilter(1, (): never => {
      throw new Error('must not be called');
    });

    @UseFilters(filter)
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('database')
      async one(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (runs.push(id) === 1)
          await this.durable.client.query('select pg_terminate_backend(pg_backend_pid())');
      }
    }
    produce('database', 'a');
    await world.start({ controllers: [Handlers] });
    await world.consumed('database');
    expect(await world.effects()).toEqual(['a']);
    expect(filter.state).toBe('closed');
  });

  describe('as the documentation has it, pasted', () => {
    it('works: retried, skipped, the offset stored', async () => {
      const skipped: unknown[] = [];
      const filter = new DocumentedMaxRetryFilter(3, (message: { value: unknown }) => {
        skipped.push(message.value);
        return Promise.resolve();
      });

      @UseFilters(filter)
      @Controller()
      class Handlers {
        @EventPattern('pasted')
        one(@Payload() id: string) {
          run(id);
        }
      }
      for (const id of ['a', 'c']) bad.add(id);
      produce('pasted', 'a', 'b', 'c', 'd');
      await world.start({ controllers: [Handlers], durable: false });
      await world.consumed('pasted');
      // "c" fails while the circuit is open.
      expect(runs).toEqual(['a', 'a', 'a', 'b', 'c', 'd']);
      expect(skipped).toEqual(['a']);
    });

    it('works in a durable handler, whose offsets it does not touch', async () => {
      @UseFilters(new DocumentedMaxRetryFilter(2))
      @Controller()
      class Handlers {
        constructor(private readonly durable: DurableExecution) {}

        @EventPattern('pasted.durable')
        async one(@Payload() id: string) {
          await world.write(this.durable.client, id);
          run(id);
        }
      }
      bad.add('b');
      produce('pasted.durable', 'a', 'b', 'c');
      await world.start({ controllers: [Handlers] });
      await world.consumed('pasted.durable');
      expect(await world.effects()).toEqual(['a', 'c']);
      expect(world.log.matching('commitOffsets() was called in a durable handler')).toHaveLength(1);
    });
  });
});

it("the documentation's filter works on a real broker: what it commits is what it skipped", async () => {
  const apps = await new KafkaApps().connect();
  try {
    const topic = await apps.topic('pasted');
    const seen: string[] = [];

    @UseFilters(new DocumentedMaxRetryFilter(2))
    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      one(@Payload() id: string) {
        seen.push(id);
        if (id === 'b') throw new Error('fails');
      }
    }
    await apps.emit(topic, 'a', 'b');
    const { group } = await apps.start({
      controllers: [Handlers],
      server: { run: { autoCommitInterval: 600_000 } },
    });
    await apps.consumed(group, topic, 2);
    expect(seen).toEqual(['a', 'b', 'b']);
  } finally {
    await apps.dispose();
  }
});
