import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution, InvalidRecordError } from '../../../lib/index.js';
import { DurableWorld, GROUP, headerText } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

describe('records emitted by a durable handler', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  const outbox = () => world.query('select id, topic from {schema}.undispatched');
  const ids = (topic: string) => world.kafka.records(topic).map((record) => headerText(record, 'message-id'));

  it('are produced if and only if the handler commits, under an id of their own', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        await this.durable.emit('out', { key: id, value: { id }, headers: { own: 'header' } });
        await this.durable.emit('out', { key: id, value: null });
        if (id === '3' || (id === '5' && this.durable.attempt === 1)) throw new Error('no');
      }
    }
    for (let id = 0; id < 8; id++) world.kafka.produce('t', { value: `${id}` });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    const records = world.kafka.records('out');
    expect(records.map(({ key }) => key?.toString())).toEqual(
      ['0', '1', '2', '4', '5', '6', '7'].flatMap((id) => [id, id]),
    );
    expect(new Set(ids('out')).size).toBe(14);
    expect(records[0]!.value?.toString()).toBe('{"id":"0"}');
    expect(records[1]!.value).toBeNull();
    expect(headerText(records[0]!, 'own')).toBe('header');
    expect(headerText(records[0]!, 'idempotency-key')).toBe(headerText(records[0]!, 'message-id'));
    await eventually(async () => (await outbox()).length === 0);
  });

  it('keep a key that the caller set', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() _id: string) {
        await this.durable.emit('out', {
          value: 'x',
          headers: { 'idempotency-key': 'mine', 'message-id': 'forged' },
        });
      }
    }
    world.kafka.produce('t', { value: '1' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    const [record] = world.kafka.records('out');
    expect(headerText(record!, 'idempotency-key')).toBe('mine');
    expect(ids('out')).not.toContain('forged');
    expect(record!.headers.filter(([name]) => name === 'message-id')).toHaveLength(1);
  });

  it('hold back the offset until the broker has them', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        await this.durable.emit('out', id);
      }
    }
    const heal = world.kafka.faults.failProduce(({ topic }) => topic === 'out');
    world.kafka.produce('t', { value: '1' });
    await world.start({ controllers: [Handlers] });
    await eventually(() => world.log.matching('waits').length > 0);
    expect(await world.effects()).toEqual(['1']);
    expect(world.lag('t')).toBe(1n);
    heal();
    await world.consumed('t');
    expect(ids('out')).toHaveLength(1);
  });

  it('keep their id when they are produced twice because an acknowledgement was lost', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await this.durable.emit('out', id);
      }
    }
    world.kafka.faults.failProduce(1, 'after');
    world.kafka.produce('t', { value: '1' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(ids('out')).toHaveLength(2);
    expect(new Set(ids('out')).size).toBe(1);
  });

  it('are produced by the next owner, in order and under the same ids, when the first one died', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        for (const part of ['a', 'b', 'c']) await this.durable.emit('out', `${id}${part}`);
      }
    }
    const heal = world.kafka.faults.failProduce(({ topic }) => topic === 'out');
    world.kafka.produce('t', { value: '1' }, { value: '2' });
    const server = { shutdownTimeout: 50, consumer: { groupId: GROUP } };
    await world.start({ controllers: [Handlers], server });
    await eventually(async () => (await outbox()).length === 6);
    const stored = (await outbox()).map(({ id }) => id as string);
    await world.closeAll();
    heal();
    expect(world.kafka.records('out')).toEqual([]);
    await world.start({ controllers: [Handlers], server });
    await world.consumed('t');
    expect(ids('out')).toEqual(stored);
    expect(world.kafka.records('out').map(({ value }) => value?.toString())).toEqual(
      ['1', '2'].flatMap((id) => ['a', 'b', 'c'].map((part) => `${id}${part}`)),
    );
    expect(await world.effects()).toEqual(['1', '2']);
    await eventually(async () => (await outbox()).length === 0);
  });

  it('are refused inside the handler where no broker would ever take them', async () => {
    const refused: unknown[] = [];

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() _id: string) {
        const circular: Record<string, unknown> = {};
        circular['self'] = circular;
        for (const [topic, message] of [
          ['not a topic!', 'x'],
          ['', 'x'],
          ['out', circular],
          ['out', { value: 'x', headers: { bad: 7 } }],
        ] as const) {
          await this.durable.emit(topic, message).catch((error: unknown) => refused.push(error));
        }
        await this.durable.emit('out', 'fine');
      }
    }
    world.kafka.produce('t', { value: '1' });
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(refused).toHaveLength(4);
    for (const error of refused) expect(error).toBeInstanceOf(InvalidRecordError);
    expect(world.kafka.records('out')).toHaveLength(1);
  });

  it('do not hold up the partition when the stack makes a dead letter larger than the broker takes', async () => {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() value: string) {
        await world.write(this.durable.client, value.slice(0, 10));
        if (value.length > 10) throw Object.assign(new Error('too much'), { stack: 'at x\n'.repeat(2_000) });
      }
    }
    const large = 'x'.repeat(1_045_000);
    world.kafka.produce('t', { value: '1' }, { value: large }, { value: '2' });
    await world.start({ controllers: [Handlers], server: { deadLetter: true } });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['1', '2']);
    const [letter] = world.kafka.records('t.dlt');
    expect(letter!.value?.length).toBe(large.length);
    expect(headerText(letter!, 'dlt-reason')).toBe('exhausted');
    expect(headerText(letter!, 'dlt-exception-stack')).toBeUndefined();
  });
});
