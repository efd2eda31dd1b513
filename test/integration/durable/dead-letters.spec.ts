import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { Durable, KafkaTerminalException } from '../../../lib/index.js';
import { DurableWorld, headerText, SERVER_GROUP } from '../../support/durable-app.js';

const KEYS = ['a', 'b', 'c', 'd'];

describe('dead letters of handlers that run at once', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  it.each(['claim', 'transaction'] as const)('are each of its own record, in %s mode', async (mode) => {
    @Controller()
    class Handlers {
      @Durable({ mode })
      @EventPattern('t')
      run(@Payload() id: string): Promise<void> {
        return Promise.reject(new KafkaTerminalException(`not ${id}`));
      }
    }
    world.kafka.createTopic('t', 1);
    world.kafka.produce('t', ...KEYS.map((key) => ({ key, value: `value of ${key}` })));
    await world.start({
      controllers: [Handlers],
      server: { deadLetter: true, ordering: 'key', groupCommit: { concurrent: true } },
    });
    await world.consumed('t');
    const letters = world.kafka.records('t.dlt');
    expect(letters.map(({ value }) => String(value)).sort()).toEqual(KEYS.map((key) => `value of ${key}`));
    const ids = letters.map((letter) => headerText(letter, 'message-id'));
    expect(new Set(ids).size).toBe(KEYS.length);
    expect(letters.map((letter) => headerText(letter, 'dlt-exception-message')).sort()).toEqual(
      KEYS.map((key) => `not value of ${key}`),
    );
    expect(headerText(letters[0]!, 'dlt-exception-class')).toBe('KafkaTerminalException');
    const dead = await world.query<{ record_value: Buffer }>(
      'select record_value from {schema}.dead_letters',
    );
    expect(dead.map(({ record_value }) => String(record_value)).sort()).toEqual(
      KEYS.map((key) => `value of ${key}`),
    );
  });
});

describe('a dead letter', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    @EventPattern('t')
    run(@Payload() text: string) {
      throw new RangeError(`not ${text}`);
    }
  }

  it.each([
    ['durable', undefined, 'Handlers.run'],
    ['not durable', false, 't'],
  ] as const)(
    'has the bytes of its record and says why, all of it, of a handler that is %s',
    async (_, durable, handler) => {
      const began = Date.now();
      world.kafka.createTopic('t', 1);
      const bytes = Buffer.from([0x31, 0x00, 0xff]);
      const headers = { 'idempotency-key': 'k-1', note: ['one', 'two'], 'dlt-reason': 'of an earlier life' };
      world.kafka.produce('t', { key: bytes, value: 'x', headers });
      const [record] = world.kafka.records('t');
      const server = { deadLetter: { topic: 'graveyard' }, retry: { attempts: 2, initial: 1, max: 1 } };
      await world.start({ controllers: [Handlers], durable, server });
      await world.consumed('t');

      const [letter, ...others] = world.kafka.records('graveyard');
      expect(others).toEqual([]);
      expect([letter!.key, letter!.value]).toEqual([record!.key, record!.value]);
      const kept = record!.headers.length;
      expect(letter!.headers.slice(0, kept)).toEqual(record!.headers);
      const said = letter!.headers.slice(kept).filter(([name]) => name !== 'message-id');
      const facts = Object.fromEntries(said.map(([name, value]) => [name, value!.toString('utf8')]));
      expect(facts).toEqual({
        'dlt-reason': 'exhausted',
        'dlt-original-topic': 't',
        'dlt-original-partition': '0',
        'dlt-original-offset': '0',
        'dlt-original-timestamp': String(record!.timestamp),
        'dlt-group': SERVER_GROUP,
        'dlt-handler': handler,
        // Without a ledger nobody asks for a key.
        ...(durable !== false && { 'dlt-key': 'k-1' }),
        'dlt-exception-class': 'RangeError',
        'dlt-exception-message': 'not x',
        'dlt-exception-stack': expect.stringContaining('RangeError: not x'),
        'dlt-attempts': '2',
        'dlt-first-failure': expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      });
      expect(new Set(said.map(([name]) => name)).size).toBe(said.length);
      const firstFailure = Date.parse(facts['dlt-first-failure']!);
      expect(firstFailure).toBeGreaterThanOrEqual(began - 1_000);
      expect(firstFailure).toBeLessThanOrEqual(Date.now() + 1_000);
    },
  );
});
