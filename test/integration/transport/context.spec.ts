import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, KafkaContext, MessagePattern, Payload } from '@nestjs/microservices';
import type { Consumer } from 'kafkajs';
import { Durable, DurableExecution, KafkaDeliveryContext, NotDurable } from '../../../lib/index.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { DurableWorld, SERVER_GROUP } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { KafkaApps } from '../../support/kafka-app.js';

describe('the context of a handler, on a real broker', () => {
  const apps = new KafkaApps();

  beforeAll(() => apps.connect());
  afterAll(() => apps.dispose());

  it('has what Nest documents: message, topic, partition, heartbeat, consumer and producer', async () => {
    const topic = await apps.topic();
    const out = await apps.topic();
    const seen: unknown[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      async one(@Payload('id') id: string, @Ctx() context: KafkaContext) {
        const { offset, timestamp, headers, value, key } = context.getMessage();
        await context.getHeartbeat()();
        await context.getProducer().send({ topic: out, messages: [{ value: id }] });
        const { state, members } = await context.getConsumer().describeGroup();
        seen.push({
          id,
          place: [context.getTopic(), context.getPartition(), offset],
          message: { key, value, headers: { ...headers }, timestamp: Number(timestamp) },
          group: [state, members.length],
          ours: context instanceof KafkaDeliveryContext,
          args: context.getArgs().length,
        });
      }
    }
    await apps.produce({
      topic,
      key: Buffer.from('k'),
      value: Buffer.from('{"id":"a"}'),
      headers: [['h', Buffer.from('v')]],
      timestamp: 1_700_000_000_000,
    });
    const { group } = await apps.start({ controllers: [Handlers] });
    await apps.consumed(group, topic, 1);
    expect(seen).toEqual([
      {
        id: 'a',
        place: [topic, 0, '0'],
        message: { key: 'k', value: { id: 'a' }, headers: { h: 'v' }, timestamp: 1_700_000_000_000 },
        group: ['Stable', 1],
        ours: true,
        args: 6,
      },
    ]);
    expect((await apps.read(out)).map(({ value }) => value?.toString())).toEqual(['a']);
  });

  it('pauses a partition: no handler is called and nothing is lost, until it is resumed; others go on', async () => {
    const topic = await apps.topic('pause', { partitions: 2 });
    const seen: string[] = [];
    let resume: (() => void) | undefined;

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      one(@Payload() id: string, @Ctx() context: KafkaDeliveryContext) {
        seen.push(id);
        if (id === 'a0') resume = context.pause();
      }
    }
    const record = (partition: number, id: string) => ({
      topic,
      partition,
      key: null,
      value: Buffer.from(id),
      headers: [],
    });
    await apps.produce(record(0, 'a0'), record(0, 'a1'), record(0, 'a2'));
    const { group } = await apps.start({ controllers: [Handlers] });
    await eventually(() => resume);
    await apps.produce(record(0, 'a3'), ...['b0', 'b1'].map((id) => record(1, id)));
    await eventually(() => seen.includes('b1'));
    await apps.consumed(group, topic, 1);
    expect(seen.filter((id) => id.startsWith('a'))).toEqual(['a0']);
    resume!();
    resume!();
    await apps.consumed(group, topic, 4);
    expect(seen.filter((id) => id.startsWith('a'))).toEqual(['a0', 'a1', 'a2', 'a3']);
  });

  it('lends a consumer whose pause and seek reach what was fetched already', async () => {
    const topic = await apps.topic('lent');
    const seen: string[] = [];
    let consumer: Consumer | undefined;

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      one(@Payload() id: string, @Ctx() context: KafkaContext) {
        seen.push(id);
        if (seen.length === 1) {
          consumer = context.getConsumer() as unknown as Consumer;
          consumer.pause([{ topic }]);
        }
        if (id === 'd' && seen.length === 4)
          consumer!.seek({ topic, partition: 0, offset: context.getMessage().offset });
        if (id === 'e' && !seen.includes('again')) {
          seen.push('again');
          consumer!.seek({ topic, partition: 0, offset: '1' });
        }
      }
    }
    await apps.emit(topic, 'a', 'b', 'c', 'd', 'e', 'f');
    const { group, server } = await apps.start({ controllers: [Handlers] });
    await eventually(() => consumer);
    await apps.consumed(group, topic, 1);
    expect(consumer!.paused()).toEqual([{ topic, partitions: [0] }]);
    expect(seen).toEqual(['a']);
    expect(server.unwrap()[1]).toBe(consumer);
    consumer!.resume([{ topic, partitions: [0] }]);
    await apps.consumed(group, topic, 6);
    expect(seen.join('')).toBe('abcddeagainbcdef');
  });

  it('lends a consumer that refuses offsets that are none, and forgets nothing for them', async () => {
    const topic = await apps.topic('lent');
    const seen: string[] = [];
    const refusals: string[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      async one(@Payload() id: string, @Ctx() context: KafkaContext) {
        seen.push(id);
        if (seen.length > 1) return;
        const consumer = context.getConsumer() as unknown as Consumer;
        const note = (error: { code: string }) => refusals.push(error.code);
        for (const offset of ['-5', 'b', '', undefined as unknown as string]) {
          const position = { topic, partition: 0, offset };
          await Promise.resolve(position)
            .then((at) => consumer.seek(at))
            .catch(note);
          await consumer.commitOffsets([position]).catch(note);
        }
      }
    }
    await apps.emit(topic, 'a', 'b', 'c');
    const { group } = await apps.start({ controllers: [Handlers] });
    await apps.consumed(group, topic, 3);
    expect(seen).toEqual(['a', 'b', 'c']);
    expect(refusals).toEqual(Array.from({ length: 8 }, () => 'KT_RECORD_INVALID'));
  });
});

describe('the context of a handler, beyond Nest', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });
  afterEach(() => world.dispose());

  it('tells attempt, redelivered and the idempotency key of a durable handler', async () => {
    const seen: unknown[] = [];

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern<string>('facts')
      durably(@Payload() id: string, @Ctx() context: KafkaDeliveryContext) {
        seen.push(['durable', id, context.attempt, context.redelivered, context.key]);
        expect(context.key).toBe(this.durable.key);
        if (context.attempt < 3) throw new Error('again');
      }

      @NotDurable()
      @EventPattern<string>('facts')
      plainly(@Payload() id: string, @Ctx() context: KafkaDeliveryContext) {
        seen.push(['plain', id, context.attempt, context.redelivered, context.key]);
      }

      @Durable({ key: ({ value }) => `of ${String(value)}` })
      @MessagePattern('facts.keyed')
      keyed(@Ctx() context: KafkaDeliveryContext) {
        return context.key;
      }
    }
    world.kafka.produce('facts', { value: 'a', headers: { 'idempotency-key': 'k' } });
    world.request('facts.keyed', 1);
    await world.start({ controllers: [Handlers] });
    await world.consumed('facts');
    await world.consumed('facts.keyed');
    expect(seen).toEqual([
      ['durable', 'a', 1, false, 'k'],
      ['durable', 'a', 2, true, 'k'],
      ['durable', 'a', 3, true, 'k'],
      ['plain', 'a', 1, false, undefined],
    ]);
    expect(world.replies('facts.keyed')[0]!.value!.toString()).toBe('of 1');
  });

  it('tells that a record came before the partition was taken away', async () => {
    const seen: [string, boolean][] = [];
    const stuck = deferred();

    @Controller()
    class Handlers {
      @EventPattern<string>('taken')
      async one(@Payload() id: string, @Ctx() context: KafkaDeliveryContext) {
        seen.push([id, context.redelivered]);
        if (id === 'b' && !context.redelivered) await stuck.promise;
      }
    }
    world.kafka.createTopic('taken', 1);
    world.kafka.produce('taken', { value: 'a' }, { value: 'b' }, { value: 'c' });
    await world.start({ controllers: [Handlers], durable: false, server: { shutdownTimeout: 0 } });
    await eventually(() => seen.length === 2);
    for (const memberId of world.kafka.group(SERVER_GROUP).memberIds) world.kafka.faults.expel(memberId);
    await world.consumed('taken');
    stuck.resolve();
    expect(seen.filter(([id]) => id !== 'a')).toEqual([
      ['b', false],
      ['b', true],
      ['c', false],
    ]);
  });

  it('tries a record that fails under a pause again when the pause is over, which a close does not wait for', async () => {
    const seen: string[] = [];
    const resumes: (() => void)[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>('paused')
      one(@Payload() id: string, @Ctx() context: KafkaDeliveryContext) {
        seen.push(`${id}${context.attempt}`);
        if (context.attempt > 2) return;
        resumes.push(context.pause());
        throw new Error('not now');
      }
    }
    world.kafka.produce('paused', { value: 'a' });
    const app = await world.start({ controllers: [Handlers], durable: false });
    await eventually(() => resumes.length === 1);
    world.kafka.produce('paused', { value: 'b' });
    resumes[0]!();
    await eventually(() => resumes.length === 2);
    expect(seen).toEqual(['a1', 'a2']);
    await app.close();
    expect(world.lag('paused')).toBe(2n);
    expect(seen).toEqual(['a1', 'a2']);
  });

  it('aborts its signal at handlerTimeout', async () => {
    const reasons: unknown[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>('slow')
      async one(@Ctx() { signal, attempt }: KafkaDeliveryContext) {
        if (attempt > 1) return;
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        reasons.push((signal.reason as Error).name);
      }
    }
    world.kafka.produce('slow', { value: 'a' });
    await world.start({ controllers: [Handlers], durable: false, server: { handlerTimeout: 50 } });
    await world.consumed('slow');
    expect(reasons).toEqual(['HandlerTimeoutError']);
  });

  it('has no handler commit past the ledger', async () => {
    @Controller()
    class Handlers {
      @EventPattern<string>('commits')
      async one(@Ctx() context: KafkaContext) {
        await context.getConsumer().commitOffsets([{ topic: 'commits', partition: 0, offset: '5' }]);
      }
    }
    world.kafka.produce('commits', { value: 'a' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('commits');
    expect(world.kafka.committed(SERVER_GROUP, 'commits')).toEqual([
      { topic: 'commits', partition: 0, offset: 1n },
    ]);
    expect(world.log.matching('offsets follow the ledger')).toHaveLength(1);
  });
});
