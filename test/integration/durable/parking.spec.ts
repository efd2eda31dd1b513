import { Controller, type INestMicroservice } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution, DurableLedger, type KafkaTransportOptions } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

const KEYS = 20;
/** What one key is about; the others are well. */
const BAD = 'k7';

/** Quick, and never held for an operator. */
const quick: KafkaTransportOptions = {
  onExhausted: 'park',
  retry: { attempts: 2, initial: 1 },
  parking: { retryAfter: 30, factor: 1, attempts: 1_000_000 },
};
/** Longer than any test. */
const HOUR = 3_600_000;
const slow: KafkaTransportOptions = { ...quick, parking: { retryAfter: HOUR, max: HOUR } };

describe.each(['partition', 'key'] as const)('parked records under ordering %s', (ordering) => {
  let world: DurableWorld;
  let healed: boolean;
  let onRun: (text: string) => void;
  /** Records of the bad key that the handler was called with. */
  let calls: string[];

  beforeEach(async () => {
    world = await DurableWorld.create();
    healed = false;
    onRun = () => undefined;
    calls = [];
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    constructor(private readonly durable: DurableExecution) {}

    @EventPattern('t')
    async run(@Payload() text: string) {
      await world.write(this.durable.client, text);
      if (!text.startsWith(`${BAD}:`)) return;
      calls.push(text);
      if (!healed) throw new TypeError('no such account');
      onRun(text);
    }
  }

  const start = (server: KafkaTransportOptions = quick): Promise<INestMicroservice> =>
    world.start({ controllers: [Handlers], server: { ordering, ...server } });

  /** `k3:0`, `k3:1`, … for each key, in turns. */
  function produce(rounds: number, first = 0): void {
    for (let round = first; round < first + rounds; round++) {
      for (let key = 0; key < KEYS; key++) {
        world.kafka.produce('t', { key: `k${key}`, value: `k${key}:${round}`, partition: 0 });
      }
    }
  }

  const of = (key: string, rounds: number) => Array.from({ length: rounds }, (_, round) => `${key}:${round}`);
  const effectsOf = async (key: string) =>
    (await world.effects()).filter((text) => text.startsWith(`${key}:`));
  const letters = () => world.query('select * from {schema}.parked_letters order by record_offset');
  const sequences = () => world.query('select * from {schema}.parked_sequences');

  async function expectAllInOrder(rounds: number): Promise<void> {
    const effects = await world.effects();
    expect(effects).toHaveLength(KEYS * rounds);
    for (let key = 0; key < KEYS; key++) {
      expect(effects.filter((text) => text.startsWith(`k${key}:`))).toEqual(of(`k${key}`, rounds));
    }
    expect(await letters()).toEqual([]);
    expect(await world.query('select * from {schema}.parked_head')).toEqual([]);
  }

  it('queue in order while all other keys are done, and have their effects once when the handler is healed', async () => {
    produce(5);
    const app = await start();
    await world.consumed('t');
    expect(await world.effects()).toHaveLength((KEYS - 1) * 5);
    expect(await letters()).toHaveLength(5);
    expect(new Set(calls)).toEqual(new Set([`${BAD}:0`]));
    expect(await sequences()).toMatchObject([
      { letters: 5, state: 'waiting', error_name: 'TypeError', record_offset: '7' },
    ]);
    healed = true;
    await eventually(async () => (await effectsOf(BAD)).length === 5);
    produce(2, 5);
    await world.consumed('t');
    await eventually(async () => (await effectsOf(BAD)).length === 7);
    await expectAllInOrder(7);
    expect(app.get(DurableLedger).counters()).toMatchObject({ handled: KEYS * 7, parked: 5, dead: 0 });
  });

  it('are tried again in claim mode too, without repeating a step', async () => {
    const steps: string[] = [];

    @Controller()
    class Claiming {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern<string>('t')
      async run(@Payload() text: string) {
        await this.durable.step('call', () => void steps.push(text));
        if (!healed && text.startsWith(`${BAD}:`)) throw new Error('no such account');
        await this.durable.transaction('write', async (client) => void (await world.write(client, text)));
      }
    }
    produce(3);
    await world.start({
      controllers: [Claiming],
      server: { ordering, ...quick },
      durable: { mode: 'claim' },
    });
    await eventually(async () => (await letters()).length === 3);
    healed = true;
    await eventually(async () => (await world.effects()).length === KEYS * 3);
    await eventually(async () => (await letters()).length === 0);
    await expectAllInOrder(3);
    expect([...steps].sort()).toEqual([...new Set(steps)].sort());
  });

  it('go on after a restart, also in a partition that gets no record any more', async () => {
    produce(3);
    await start();
    await world.consumed('t');
    await eventually(async () => (await letters()).length === 3);
    await world.closeAll();
    healed = true;
    await start();
    await eventually(async () => (await effectsOf(BAD)).length === 3);
    await expectAllInOrder(3);
  });

  it('are known to a new owner, who has later records of the key queue', async () => {
    produce(1);
    await start(slow);
    await world.consumed('t');
    await world.closeAll();
    healed = true;
    calls = [];
    const app = await start(slow);
    produce(2, 1);
    await world.consumed('t');
    expect(calls).toEqual([]);
    expect(await letters()).toHaveLength(3);
    expect(await app.get(DurableLedger).retryParked({ topic: 't' })).toBe(1);
    await eventually(async () => (await effectsOf(BAD)).length === 3);
    await expectAllInOrder(3);
  });

  it('are not run again when their records are read again', async () => {
    produce(3);
    await start();
    await world.consumed('t');
    await world.rewind('t');
    healed = true;
    await start();
    await world.consumed('t');
    await eventually(async () => (await letters()).length === 0);
    await world.rewind('t');
    await start();
    await world.consumed('t');
    await expectAllInOrder(3);
  });

  it('are drained before the records of their key that come meanwhile, up to the last letter', async () => {
    produce(4);
    await start();
    await world.consumed('t');
    await eventually(async () => (await letters()).length === 4);
    // Each of them brings another one while it runs: also the last letter that is left.
    const followers = 12;
    onRun = (text) => {
      const round = Number(text.split(':')[1]) + 4;
      if (round < followers + 4)
        world.kafka.produce('t', { key: BAD, value: `${BAD}:${round}`, partition: 0 });
    };
    healed = true;
    await eventually(async () => (await effectsOf(BAD)).length === followers + 4);
    await world.consumed('t');
    await eventually(async () => (await letters()).length === 0);
    expect(await effectsOf(BAD)).toEqual(of(BAD, followers + 4));
  });

  it.each([
    ['retryParked', (ledger: DurableLedger, id: string) => ledger.retryParked({ id })],
    ['redrive', (ledger: DurableLedger) => ledger.redrive().then(({ parked }) => parked)],
  ])('are held for an operator after their tries, and go on by %s()', async (_name, goOn) => {
    produce(1);
    const app = await start({ ...quick, parking: { retryAfter: 1, factor: 1, attempts: 3 } });
    const ledger = app.get(DurableLedger);
    const head = (await eventually(async () =>
      (await ledger.parked()).find(({ state }) => state === 'held'),
    ))!;
    expect(head).toMatchObject({ letters: 1, retries: 3, failures: 5, nextRetry: undefined });
    await eventually(() => world.log.matching('held until an operator').length === 1);
    // A run that was undone with the rest of its group is no failure: there may be one more than counted.
    const tries = calls.length;
    expect(tries).toBeGreaterThanOrEqual(5);
    produce(1, 1);
    await world.consumed('t');
    expect(calls).toHaveLength(tries);
    expect(world.log.matching('held until an operator')).toHaveLength(1);
    healed = true;
    expect(await ledger.redrive({}, { dryRun: true })).toMatchObject({ parked: 1, redriven: 0 });
    expect(await ledger.redrive({ reason: 'exhausted' })).toMatchObject({ parked: 0, redriven: 0 });
    expect(await goOn(ledger, head.id)).toBe(1);
    await eventually(async () => (await effectsOf(BAD)).length === 2);
    await expectAllInOrder(2);
  });

  it('are left to an operator where they are never to be tried again', async () => {
    const parking = { retryAfter: Infinity, max: Infinity };
    const app = await start({ ...quick, parking });
    produce(2);
    await world.consumed('t');
    const ledger = app.get(DurableLedger);
    expect(await ledger.parked()).toMatchObject([{ letters: 2, state: 'waiting', retries: 0 }]);
    healed = true;
    expect(await ledger.retryParked()).toBe(1);
    await eventually(async () => (await ledger.parked()).length === 0);
    await expectAllInOrder(2);
  });

  it('end as skipped or dead where an operator wants it, and the next one goes on', async () => {
    produce(4);
    const app = await start({ ...slow, deadLetter: true });
    await world.consumed('t');
    const ledger = app.get(DurableLedger);
    const [parked] = await ledger.parked({ handler: 'Handlers.run' });
    expect(parked).toMatchObject({ letters: 4, offset: 7n, recordKey: Buffer.from(BAD) });
    const before = calls.length;
    expect(await ledger.skipParked(parked!.id, 'booked by hand')).toBe(true);
    // The second one fails, and waits in its turn.
    await eventually(async () => (await ledger.parked())[0]?.retries === 1);
    expect(calls.slice(before)).toEqual([`${BAD}:1`]);
    expect(await ledger.dropParked(parked!.id, 'nobody misses it', { all: true })).toBe(true);
    await eventually(async () => (await letters()).length === 0);
    expect(calls.slice(before)).toEqual([`${BAD}:1`]);
    const ended = (await world.executions()).filter(({ state }) => state !== 'completed');
    expect(ended.map(({ state }) => state)).toEqual(['skipped', 'dead', 'dead', 'dead']);
    await eventually(() => world.kafka.records('t.dlt').length === 3);
    expect(await ledger.skipParked(parked!.id, 'too late')).toBe(false);
    healed = true;
    produce(1, 4);
    await world.consumed('t');
    expect(await effectsOf(BAD)).toEqual([`${BAD}:4`]);
  });

  it('leave their dead letters when they are dropped, two contents under one idempotency key as well', async () => {
    const headers = { 'idempotency-key': 'one' };
    const values = [`${BAD}:first`, `${BAD}:second`];
    for (const value of values) world.kafka.produce('t', { key: BAD, value, headers, partition: 0 });
    const app = await start({ ...slow, deadLetter: true });
    await world.consumed('t');
    const ledger = app.get(DurableLedger);
    const [parked] = await ledger.parked();
    expect(await ledger.dropParked(parked!.id, 'nobody misses them', { all: true })).toBe(true);
    await eventually(async () => (await letters()).length === 0);
    await eventually(() => world.kafka.records('t.dlt').length === 2);
    expect(world.kafka.records('t.dlt').map(({ value }) => value!.toString())).toEqual(values);
    expect((await world.executions()).map(({ state }) => state)).toEqual(['dead', 'dead']);
  });

  it.each([
    ['letters', { maxLetters: 2 }],
    ['sequences', { maxSequences: 1 }],
  ])('wait in their place where there is no room for more %s, and nothing is lost', async (_what, bounds) => {
    const others = 'maxSequences' in bounds ? ['k0:x', 'k0:y'] : [];
    produce(4);
    for (const value of others) world.kafka.produce('t', { key: 'k0', value, partition: 0 });

    @Controller()
    class Crowded {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() text: string) {
        await world.write(this.durable.client, text);
        if (!healed && (text.startsWith(`${BAD}:`) || others.includes(text))) throw new Error('no');
      }
    }
    await world.start({
      controllers: [Crowded],
      server: { ordering, ...quick, parking: { ...quick.parking, ...bounds } },
    });
    const warned = () => world.log.matching('(parking.max');
    await eventually(() => warned().length > 0);
    expect(world.lag('t')).toBeGreaterThan(0n);
    healed = true;
    await world.consumed('t');
    await eventually(async () => (await letters()).length === 0);
    expect(await effectsOf('k0')).toEqual([...of('k0', 4), ...others]);
    expect(await effectsOf(BAD)).toEqual(of(BAD, 4));
    expect(warned()).toHaveLength(1);
  });
});
