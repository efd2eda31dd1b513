import { Controller } from '@nestjs/common';
import {
  EventPattern,
  KafkaRetriableException,
  MessagePattern,
  Payload,
  RpcException,
} from '@nestjs/microservices';
import { from, of, throwError } from 'rxjs';
import { DurableExecution } from '../../../lib/index.js';
import type { KafkaRecord } from '../../../lib/messages/record.js';
import { DurableWorld, headerText, valueOf } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

describe('a request to a durable handler', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  /** What a requester sees, but for whom it is for and when and where it was produced. */
  const content = ({ key, value, headers }: KafkaRecord) => ({
    key,
    value,
    headers: headers.filter(([name]) => name !== 'kafka_correlationId'),
  });

  const errorOf = (record: KafkaRecord) => headerText(record, 'kafka_nest-err');

  it('gets the stored reply, byte for byte, when it is repeated under its key', async () => {
    let runs = 0;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @MessagePattern('ask')
      async answer(@Payload() { id }: { id: string }) {
        await world.write(this.durable.client, id);
        return {
          key: 'reply-key',
          value: { id, run: ++runs, random: Math.random() },
          headers: { own: 'header' },
        };
      }
    }
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k', correlationId: 'first' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k', correlationId: 'second' });
    world.request('ask', { id: 'a' }, { idempotencyKey: 'other', correlationId: 'third' });
    await world.consumed('ask');
    const [first, second, third] = world.replies('ask');
    expect(headerText(first!, 'own')).toBe('header');
    expect(content(second!)).toEqual(content(first!));
    expect(headerText(second!, 'kafka_correlationId')).toBe('second');
    expect(content(third!)).not.toEqual(content(first!));
    expect(await world.effects()).toEqual(['a', 'a']);
  });

  it('gets one reply where it is there twice in one batch, also beside an event handler', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @MessagePattern('ask')
      async answer(@Payload() { id }: { id: string }) {
        await world.write(this.durable.client, id);
        return { answer: id };
      }

      @EventPattern('ask')
      async listen(@Payload() { id }: { id: string }) {
        await world.write(this.durable.client, `heard ${id}`);
      }
    }
    for (let twice = 0; twice < 2; twice++) world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(world.replies('ask').map(valueOf)).toEqual([{ answer: 'a' }, { answer: 'a' }]);
    expect(await world.effects()).toEqual(['a', 'heard a']);
  });

  it('that repeats an event is told that there is no reply, rather than nothing', async () => {
    @Controller()
    class Handlers {
      @MessagePattern('ask')
      answer(@Payload() _request: unknown) {
        return { answer: 42 };
      }
    }
    const event = { value: JSON.stringify({ id: 'a' }), headers: { 'idempotency-key': 'k' } };
    world.kafka.produce('ask', event);
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.consumed('ask');
    expect(world.replies('ask').map(errorOf)).toEqual([
      expect.stringContaining('no longer stored'),
      expect.stringContaining('no longer stored'),
    ]);
  });

  it('that fails is answered by its stored error when it is read again, and run when it is asked anew', async () => {
    let broken = true;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @MessagePattern('ask')
      async answer(@Payload() { id }: { id: string }) {
        await world.write(this.durable.client, id);
        if (broken) throw new RpcException(`broken ${Math.random()}`);
        return { answer: id };
      }
    }
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(await world.effects()).toEqual([]);
    expect(await world.executions()).toMatchObject([{ key: 'k', state: 'failed', attempts: 1 }]);
    broken = false;
    await world.rewind('ask');
    await world.start({ controllers: [Handlers] });
    await eventually(() => world.replies('ask').length === 2);
    const [first, again] = world.replies('ask');
    expect(errorOf(first!)).toContain('broken');
    expect(content(again!)).toEqual(content(first!));
    expect(await world.effects()).toEqual([]);
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.consumed('ask');
    expect(valueOf(world.replies('ask')[2]!)).toEqual({ answer: 'a' });
    expect(await world.effects()).toEqual(['a']);
    expect(await world.executions()).toMatchObject([{ key: 'k', state: 'completed', record_offset: '1' }]);
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.consumed('ask');
    expect(content(world.replies('ask')[3]!)).toEqual(content(world.replies('ask')[2]!));
    expect(await world.effects()).toEqual(['a']);
  });

  it('that fails again and again under one key gets the error of its own run', async () => {
    let runs = 0;

    @Controller()
    class Handlers {
      @MessagePattern('ask')
      answer(@Payload() _request: unknown) {
        throw new RpcException(`failure ${++runs}`);
      }
    }
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    const errors = world.replies('ask').map((record) => errorOf(record));
    expect(new Set(errors).size).toBe(3);
    expect(await world.executions()).toMatchObject([{ key: 'k', state: 'failed', record_offset: '2' }]);
  });

  it('is retried for a KafkaRetriableException only, and then answered', async () => {
    let runs = 0;

    @Controller()
    class Handlers {
      @MessagePattern('ask')
      answer(@Payload() { id }: { id: string }) {
        runs++;
        if (id === 'later' && runs === 2) return { runs };
        throw new KafkaRetriableException('wait');
      }
    }
    world.request('ask', { id: 'later' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(valueOf(world.replies('ask')[0]!)).toEqual({ runs: 2 });
    world.request('ask', { id: 'never' });
    await world.consumed('ask');
    expect(errorOf(world.replies('ask')[1]!)).toContain('wait');
    expect(runs).toBe(5);
  });

  it('whose key holds another content is told so, also when it is read again', async () => {
    @Controller()
    class Handlers {
      @MessagePattern('ask')
      answer(@Payload() { id }: { id: string }) {
        return { secret: id };
      }
    }
    world.request('ask', { id: 'a' }, { idempotencyKey: 'k' });
    world.request('ask', { id: 'b' }, { idempotencyKey: 'k' });
    world.request('ask', { id: 'c' }, { idempotencyKey: 'x'.repeat(600) });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    const first = world.replies('ask').map(content);
    expect(valueOf(world.replies('ask')[0]!)).toEqual({ secret: 'a' });
    expect(errorOf(world.replies('ask')[1]!)).toContain('another content');
    expect(errorOf(world.replies('ask')[2]!)).toContain('600 bytes');
    await world.rewind('ask');
    await world.start({ controllers: [Handlers] });
    await eventually(() => world.replies('ask').length === 6);
    expect(world.replies('ask').slice(3).map(content)).toEqual(first);
  });

  it('gets all stored replies when the topic is read again from its start', async () => {
    let runs = 0;

    @Controller()
    class Handlers {
      @MessagePattern('ask')
      answer(@Payload() { id }: { id: number }) {
        runs++;
        return { id };
      }
    }
    for (let id = 0; id < 50; id++) {
      world.request('ask', { id }, id % 2 === 0 ? { idempotencyKey: `${id}` } : {});
    }
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    const first = world.replies('ask').map(content);
    await world.rewind('ask');
    await world.start({ controllers: [Handlers] });
    await eventually(() => world.replies('ask').length === 100);
    expect(world.replies('ask').slice(50).map(content)).toEqual(first);
    expect(runs).toBe(50);
  });

  it('gets several values, none, or an error of its stream, and gets them again', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @MessagePattern('ask')
      async answer(@Payload() { what }: { what: string }) {
        await world.write(this.durable.client, what);
        if (what === 'many') return from(['1', '2', '3']);
        if (what === 'none') return from([]);
        if (what === 'error') return throwError(() => new RpcException('from the stream'));
        return of(undefined);
      }
    }
    const ask = async () => {
      const before = world.replies('ask').length;
      for (const what of ['many', 'none', 'error', 'undefined'])
        world.request('ask', { what }, { idempotencyKey: what });
      await world.consumed('ask');
      return world.replies('ask').slice(before).map(content);
    };
    await world.start({ controllers: [Handlers] });
    const first = await ask();
    expect(first.map(({ value }) => value?.toString())).toEqual([
      '1',
      '2',
      '3',
      undefined,
      undefined,
      undefined,
    ]);
    expect(await world.effects()).toEqual(['many', 'none', 'undefined']);
    expect(await ask()).toEqual(first);
    expect(await world.effects()).toEqual(['many', 'none', 'undefined']);
  });

  it('whose reply nobody can serialize is told so and leaves the server alive', async () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;

    @Controller()
    class Handlers {
      @MessagePattern('ask')
      answer(@Payload() { what }: { what: string }) {
        if (what === 'circular') return circular;
        if (what === 'header') return { value: 1, headers: { bad: 7 } };
        if (what === 'large') return { value: 'x'.repeat(2_000_000) };
        return { what };
      }
    }
    for (const what of ['circular', 'header', 'large', 'fine']) world.request('ask', { what });
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    const replies = world.replies('ask');
    const answers = new Map(replies.map((record) => [headerText(record, 'kafka_correlationId'), record]));
    expect(answers.size).toBe(4);
    expect([...answers.values()].filter((record) => errorOf(record) !== undefined)).toHaveLength(3);
  });

  it.each([
    ['handler', { serialize: () => explode() }],
    [
      'error',
      { serialize: (value: unknown) => (value === undefined ? explode() : { value: JSON.stringify(value) }) },
    ],
    ['handler asynchronously', { serialize: () => Promise.reject(new Error('boom')) }],
  ])(
    'whose reply serializer fails for the %s is told so and leaves the server alive',
    async (_, serializer) => {
      @Controller()
      class Handlers {
        @MessagePattern('ask')
        answer(@Payload() { what }: { what: string }) {
          if (what === 'error') throw new RpcException('refused');
          if (what === 'many') return from([1, 2]);
          return { what };
        }
      }
      for (const what of ['one', 'error', 'many']) world.request('ask', { what }, { correlationId: what });
      await world.start({ controllers: [Handlers], server: { serializer } });
      await world.consumed('ask');
      const answered = new Set(
        world.replies('ask').map((record) => headerText(record, 'kafka_correlationId')),
      );
      expect(answered).toEqual(new Set(['one', 'error', 'many']));
    },
  );

  it('with an address that leads nowhere does not hold up others', async () => {
    @Controller()
    class Handlers {
      @MessagePattern('ask')
      answer(@Payload() { id }: { id: string }) {
        return { id };
      }
    }
    const value = JSON.stringify({ id: 'a' });
    const address = (topic: string, partition: string) => ({
      kafka_correlationId: 'x',
      kafka_replyTopic: topic,
      kafka_replyPartition: partition,
    });
    world.kafka.produce(
      'ask',
      { value, headers: address('ask.reply', '99') },
      { value, headers: address('not a topic!', '0') },
      { value, headers: { ...address('ask.reply', '0'), kafka_correlationId: '{"json":1}' } },
    );
    await world.start({ controllers: [Handlers] });
    await world.consumed('ask');
    expect(world.replies('ask').map((record) => headerText(record, 'kafka_correlationId'))).toEqual([
      '{"json":1}',
    ]);
  });
});

function explode(): never {
  throw new Error('boom');
}
