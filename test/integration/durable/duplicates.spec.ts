import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import {
  Durable,
  DurableExecution,
  KafkaTerminalException,
  type DurableOptions,
} from '../../../lib/index.js';
import { DurableWorld, headerText } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

describe('a message that comes again', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  function writer(options?: DurableOptions) {
    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable(options)
      @EventPattern('t')
      run(@Payload() payload: unknown) {
        return world.write(this.durable.client, JSON.stringify(payload));
      }
    }
    return Handlers;
  }

  it.each(['idempotency-key', 'message-id'])('under the same %s is dropped', async (header) => {
    const message = { value: 'x', headers: { [header]: 'the same' } };
    world.kafka.produce('t', message);
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    world.kafka.produce('t', message, { value: 'y', headers: { [header]: 'another' } });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['"x"', '"y"']);
  });

  it('in one batch with the first is dropped', async () => {
    const a = { value: 'a', headers: { 'idempotency-key': 'a' } };
    const b = { value: 'b', headers: { 'idempotency-key': 'b' } };
    world.kafka.produce('t', a, b, a, a, b, a);
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['"a"', '"b"']);
    expect(await world.executions()).toHaveLength(2);
  });

  it('in one batch with a first that fails at first is dropped all the same', async () => {
    let failures = 1;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (id === 'a' && failures-- > 0) throw new Error('once');
      }
    }
    const a = { value: 'a', headers: { 'idempotency-key': 'a' } };
    const b = { value: 'b', headers: { 'idempotency-key': 'b' } };
    world.kafka.produce('t', b, a, a, b, a);
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['b', 'a']);
  });

  it('on another partition is dropped', async () => {
    world.kafka.createTopic('t', 4);
    for (let partition = 0; partition < 4; partition++) {
      for (let id = 0; id < 20; id++) {
        world.kafka.produce('t', { value: `${id}`, partition, headers: { 'idempotency-key': `${id}` } });
      }
    }
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    expect((await world.effects()).sort()).toEqual(Array.from({ length: 20 }, (_, id) => `"${id}"`).sort());
  });

  it('at its own position is dropped, whatever its headers: reading from the start runs nothing again', async () => {
    for (let id = 0; id < 100; id++) {
      world.kafka.produce('t', {
        value: `${id}`,
        headers: id % 2 === 0 ? {} : { 'idempotency-key': `${id}` },
      });
    }
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    const before = await world.effects();
    expect(before).toHaveLength(100);
    await world.rewind('t');
    world.kafka.produce('t', { value: 'new' });
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    expect(await world.effects()).toEqual([...before, '"new"']);
  });

  it('after the ledger lost its rows is still dropped, by the fence', async () => {
    for (let id = 0; id < 20; id++) {
      world.kafka.produce('t', { value: `${id}`, headers: { 'idempotency-key': `${id}` } });
    }
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    await world.rewind('t');
    await world.query('delete from {schema}.execution');
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    expect(await world.effects()).toHaveLength(20);
  });

  it('in a topic that was deleted and made anew is not taken for the old one', async () => {
    world.kafka.produce('t', { value: 'old' });
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    await world.closeAll();
    const admin = world.kafka.createAdmin();
    await admin.connect();
    await admin.deleteTopics(['t']);
    await admin.disconnect();
    world.kafka.produce('t', { value: 'new' });
    await world.start({ controllers: [writer()] });
    await eventually(async () => (await world.effects()).length === 2);
    expect(await world.effects()).toEqual(['"old"', '"new"']);
  });

  it('under a key that holds another content is dead, with all its bytes', async () => {
    const bytes = Buffer.from([1, 2, 0, 255]);
    world.kafka.produce(
      't',
      { value: 'first', headers: { 'idempotency-key': 'k' } },
      { key: bytes, value: bytes, headers: { 'idempotency-key': 'k', own: bytes } },
      { value: 'next' },
    );
    await world.start({ controllers: [writer()], server: { deadLetter: true } });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['"first"', '"next"']);
    const [letter] = await world.query('select * from {schema}.dead_letters');
    expect(letter).toMatchObject({
      reason: 'key-reused',
      error_name: 'KeyReusedError',
      record_key: bytes,
      record_value: bytes,
      record_offset: '1',
      handler: 'Handlers.run',
    });
    await eventually(() => world.kafka.records('t.dlt').length > 0);
    const [published] = world.kafka.records('t.dlt');
    expect(published).toMatchObject({ key: bytes, value: bytes });
    expect(published!.headers).toContainEqual(['own', bytes]);
    expect(published!.headers).toContainEqual(['idempotency-key', Buffer.from('k')]);
    const header = (name: string) => headerText(published!, name);
    expect(header('dlt-reason')).toBe('key-reused');
    expect(header('dlt-original-topic')).toBe('t');
    expect(header('dlt-original-partition')).toBe('0');
    expect(header('dlt-original-offset')).toBe('1');
    expect(Number(header('dlt-original-timestamp'))).toBeGreaterThan(0);
    expect(header('dlt-group')).toBe('tests-server');
    expect(header('dlt-handler')).toBe('Handlers.run');
    expect(header('dlt-exception-class')).toBe('KeyReusedError');
    expect(header('dlt-exception-message')).toContain('another content');
    expect(header('dlt-exception-stack')).toContain('KeyReusedError');
    expect(header('dlt-attempts')).toBe('1');
    expect(header('dlt-first-failure')).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  it('under a key that holds another content is dead in a later batch too', async () => {
    world.kafka.produce('t', { value: 'first', headers: { 'idempotency-key': 'k' } });
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    world.kafka.produce('t', { value: 'second', headers: { 'idempotency-key': 'k' } }, { value: 'next' });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['"first"', '"next"']);
    expect(await world.query('select reason from {schema}.dead_letters')).toEqual([{ reason: 'key-reused' }]);
  });

  it('leaves one dead letter, however often the topic is read again', async () => {
    world.kafka.produce(
      't',
      { value: 'first', headers: { 'idempotency-key': 'k' } },
      { value: 'second', headers: { 'idempotency-key': 'k' } },
      { value: 'third', headers: { 'idempotency-key': '' } },
      { value: 'fourth', headers: { 'idempotency-key': 'x'.repeat(1000) } },
    );
    await world.start({ controllers: [writer()], server: { deadLetter: true } });
    await world.consumed('t');
    await eventually(() => world.kafka.records('t.dlt').length === 3);
    await world.rewind('t');
    await world.start({ controllers: [writer()], server: { deadLetter: true } });
    await world.consumed('t');
    expect(world.kafka.records('t.dlt').map((record) => headerText(record, 'dlt-reason'))).toEqual([
      'key-reused',
      'no-key',
      'key-too-long',
    ]);
    expect(await world.effects()).toEqual(['"first"']);
  });

  /** Its statement waits for the end of the transaction that has the key. */
  const untilTwinWaits = () =>
    eventually(async () => {
      const { rowCount } = await world.pool.query(
        `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%"${world.schema}".execution%'`,
      );
      return rowCount! > 0;
    });

  it('while its twin on another partition is given up is not reported dead when it succeeds', async () => {
    let runs = 0;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() id: string) {
        await world.write(this.durable.client, id);
        if (runs++ > 0) return;
        await untilTwinWaits();
        throw new Error('the first one fails');
      }
    }
    world.kafka.createTopic('t', 2);
    const twin = { value: 'x', headers: { 'idempotency-key': 'k' } };
    world.kafka.produce('t', { ...twin, partition: 0 }, { ...twin, partition: 1 });
    await world.start({ controllers: [Handlers], server: { deadLetter: true, retry: { attempts: 1 } } });
    await world.consumed('t');
    // Whoever takes the key first after the rollback decides: the twin, nearly always, or the ending of the first.
    const states = (await world.executions()).map(({ state }) => state);
    const letters = world.kafka.records('t.dlt').length;
    expect({ states, letters, effects: await world.effects() }).toEqual(
      letters === 0
        ? { states: ['completed'], letters: 0, effects: ['x'] }
        : { states: ['dead'], letters: 1, effects: [] },
    );
  });

  it('with another content, while the first under its key is given up, does not have that one disappear', async () => {
    let runs = 0;

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() text: string) {
        await world.write(this.durable.client, text);
        if (runs++ > 0) return;
        await untilTwinWaits();
        throw new KafkaTerminalException('the first one fails');
      }
    }
    world.kafka.createTopic('t', 2);
    const headers = { 'idempotency-key': 'k' };
    world.kafka.produce(
      't',
      { value: 'one', headers, partition: 0 },
      { value: 'other', headers, partition: 1 },
    );
    await world.start({ controllers: [Handlers] });
    await world.consumed('t');
    const dead = await world.query<{ record_value: Buffer }>(
      'select record_value from {schema}.dead_letters',
    );
    const ended = [...(await world.effects()), ...dead.map(({ record_value: value }) => value.toString())];
    expect(ended.sort()).toEqual(['one', 'other']);
  });

  describe('by a key function', () => {
    it.each([
      ['a text', (value: string) => value],
      ['a number', () => 7],
      ['a bigint', () => 7n],
      ['bytes', () => Buffer.from([0, 255, 7])],
    ])('that returns %s is dropped', async (_, of) => {
      world.kafka.produce('t', { value: 'x' }, { value: 'x' });
      await world.start({
        controllers: [writer({ key: (message) => of(message.value as string), name: 'mine' })],
      });
      await world.consumed('t');
      expect(await world.effects()).toEqual(['"x"']);
      expect(await world.executions()).toMatchObject([{ handler: 'mine', key_kind: 'given' }]);
    });

    it.each([
      ['undefined', () => undefined, 'no-key'],
      ['null', () => null, 'no-key'],
      ['an empty text', () => '', 'no-key'],
      ['an object', () => ({}), 'no-key'],
      ['a promise', () => Promise.resolve('k'), 'no-key'],
      ['too much', () => 'x'.repeat(513), 'key-too-long'],
      [
        'nothing because it throws',
        () => {
          throw new TypeError('secret');
        },
        'no-key',
      ],
    ])('that returns %s is dead, and its neighbours are not', async (_, key, reason) => {
      world.kafka.produce('t', { value: 'good' }, { value: 'bad' }, { value: 'better' });
      const keyOf = (message: { value: string }) =>
        message.value === 'bad' ? (key() as string) : message.value;
      await world.start({ controllers: [writer({ key: keyOf })], server: { deadLetter: true } });
      await world.consumed('t');
      expect(await world.effects()).toEqual(['"good"', '"better"']);
      expect(await world.query('select reason, record_value from {schema}.dead_letters')).toEqual([
        { reason, record_value: Buffer.from('bad') },
      ]);
      await eventually(() => world.kafka.records('t.dlt').length === 1);
      expect(headerText(world.kafka.records('t.dlt')[0]!, 'dlt-reason')).toBe(reason);
      expect(world.log.matching('secret')).toEqual([]);
    });
  });

  it('with a megabyte for a key is dead, and its neighbours are not', async () => {
    world.kafka.produce(
      't',
      { value: 'good' },
      { value: 'bad', headers: { 'idempotency-key': 'x'.repeat(1_000_000) } },
      { value: 'better' },
    );
    await world.start({ controllers: [writer()] });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['"good"', '"better"']);
    expect(
      await world.query(
        'select reason, length(packed_headers) > 1000000 as whole from {schema}.dead_letters',
      ),
    ).toEqual([{ reason: 'key-too-long', whole: true }]);
  });

  it('has its header read under another name, or not at all, where the module says so', async () => {
    const message = (id: string) => ({ value: id, headers: { 'idempotency-key': 'k', 'x-key': id } });
    world.kafka.produce('t', message('a'), message('b'), message('a'));
    await world.start({ controllers: [writer()], durable: { keyHeader: 'x-key' } });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['"a"', '"b"']);
    await world.closeAll();
    world.kafka.produce('t', message('a'));
    await world.start({ controllers: [writer()], durable: { keyHeader: false } });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['"a"', '"b"', '"a"']);
  });
});
