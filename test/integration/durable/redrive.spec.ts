import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload, type KafkaContext } from '@nestjs/microservices';
import { Durable, DurableExecution, DurableLedger, KafkaTerminalException } from '../../../lib/index.js';
import { DurableWorld, headerText, SERVER_GROUP } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

const nothing = { redriven: 0, parked: 0, tooOften: 0, notConsumed: 0, done: 0, early: 0, notLetters: 0 };

describe('DurableLedger.redrive()', () => {
  let world: DurableWorld;
  let broken: boolean;
  let runs: string[];

  beforeEach(async () => {
    world = await DurableWorld.create();
    broken = true;
    runs = [];
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    constructor(private readonly durable: DurableExecution) {}

    @EventPattern('t')
    async run(@Payload() id: string) {
      runs.push(`${id} ${this.durable.key}`);
      await world.write(this.durable.client, id);
      if (id === 'poison' && broken) throw new KafkaTerminalException('no', 'bad-address');
      if (id.startsWith('bad') && broken) throw new TypeError('no');
    }
  }

  const start = async (controllers = [Handlers] as (typeof Handlers)[]) => {
    const app = await world.start({ controllers, server: { deadLetter: true, retry: { attempts: 1 } } });
    await world.consumed('t');
    return app.get(DurableLedger);
  };
  const states = async () =>
    (await world.executions()).map(({ handler, key, state }) => `${handler} ${key} ${state}`);

  it('has nothing happen but a histogram in a dry run', async () => {
    world.kafka.produce('t', { value: 'bad1' }, { value: 'poison' }, { value: 'bad2' });
    const ledger = await start();
    const scope = { group: SERVER_GROUP, handler: 'Handlers.run', topic: 't' };
    const kinds = [
      { ...scope, reason: 'exhausted', errorClass: 'TypeError', records: 2 },
      { ...scope, reason: 'bad-address', errorClass: expect.any(String) as string, records: 1 },
    ];
    const report = await ledger.redrive({}, { dryRun: true });
    expect(report).toEqual({ ...nothing, histogram: kinds });
    expect((await ledger.redrive({ reason: 'exhausted' }, { dryRun: true })).histogram).toHaveLength(1);
    expect(world.kafka.records('t')).toHaveLength(3);
    expect(await states()).toHaveLength(3);
  });

  it('puts records back under their original key, whatever that is', async () => {
    world.kafka.produce('t', { value: 'bad-given', headers: { 'idempotency-key': 'mine' } });
    world.kafka.produce('t', { value: 'bad-id', headers: { 'message-id': 'id-1' } });
    world.kafka.produce('t', { value: 'bad-position', key: 'k' });
    const ledger = await start();
    const before = [...runs];
    broken = false;
    const report = await ledger.redrive();
    expect(report).toEqual({ ...nothing, redriven: 3, histogram: [] });
    await eventually(() => world.kafka.records('t').length === 6);
    await world.consumed('t');
    expect(runs.slice(3).sort()).toEqual([...before].sort());
    expect((await world.effects()).sort()).toEqual(['bad-given', 'bad-id', 'bad-position']);
    expect((await states()).every((state) => state.endsWith('completed'))).toBe(true);
    expect(ledger.counters().redriven).toBe(3);
    const record = world.kafka.records('t').at(-1)!;
    expect(headerText(record, 'redrive-count')).toBe('1');
    // Once is once: nothing is left to be put back.
    expect((await ledger.redrive()).redriven).toBe(0);
  });

  it('leaves alone whom it is not about: other handlers of the topic do not run again', async () => {
    const others: string[] = [];

    @Controller()
    class Other {
      @EventPattern('t')
      run(@Payload() id: string) {
        others.push(id);
      }
    }
    world.kafka.produce('t', { value: 'bad' });
    const ledger = await start([Handlers, Other as never]);
    broken = false;
    await ledger.redrive({ handler: 'Handlers.run' });
    await eventually(() => world.kafka.records('t').length === 2);
    await world.consumed('t');
    expect(others).toEqual(['bad']);
    expect(await world.effects()).toEqual(['bad']);
  });

  it('has handlers of other topics run for a record that its headers were passed on to', async () => {
    const seen: string[] = [];

    @Controller()
    class Downstream {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('u')
      async relay(@Payload() id: string, @Ctx() context: unknown) {
        seen.push(id);
        const { headers } = (context as KafkaContext).getMessage();
        await this.durable.emit('w', { value: id, headers });
      }

      @EventPattern('w')
      end(@Payload() id: string) {
        seen.push(`${id} again`);
      }
    }
    world.kafka.produce('t', { value: 'bad' });
    const ledger = await start([Handlers, Downstream as never]);
    broken = false;
    await ledger.redrive();
    await eventually(() => world.kafka.records('t').length === 2);
    const { value, headers } = world.kafka.records('t')[1]!;
    expect(headers.some(([name]) => name === 'redrive-handler')).toBe(true);
    const passedOn = Object.fromEntries(headers.map(([name, content]) => [name, content!]));
    world.kafka.produce('u', { value, headers: passedOn });
    await eventually(() => seen.length === 2);
    expect(seen).toEqual(['bad', 'bad again']);
    const [emitted] = world.kafka.records('w');
    expect(emitted!.headers.map(([name]) => name).filter((name) => name.startsWith('redrive-'))).toEqual([]);
  });

  it('is a no-op for what was produced twice', async () => {
    world.kafka.produce('t', { value: 'bad' });
    const ledger = await start();
    broken = false;
    await ledger.redrive();
    await eventually(() => world.kafka.records('t').length === 2);
    const { value, key, headers } = world.kafka.records('t')[1]!;
    const again = Object.fromEntries(headers.map(([name, content]) => [name, content!]));
    world.kafka.produce('t', { value, key, partition: 0, headers: again });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['bad']);
  });

  it('stops putting back what comes back again and again', async () => {
    world.kafka.produce('t', { value: 'bad' });
    const ledger = await start();
    for (let count = 1; count <= 2; count++) {
      expect((await ledger.redrive({}, { maxRedrives: 2 })).redriven).toBe(1);
      await eventually(() => world.kafka.records('t').length === count + 1);
      await world.consumed('t');
    }
    expect(await ledger.redrive({}, { maxRedrives: 2 })).toMatchObject({ redriven: 0, tooOften: 1 });
    expect(await states()).toHaveLength(1);
    expect(headerText(world.kafka.records('t').at(-1)!, 'redrive-count')).toBe('2');
    broken = false;
    expect((await ledger.redrive({}, { maxRedrives: 3 })).redriven).toBe(1);
    await eventually(() => world.kafka.records('t').length === 4);
    await world.consumed('t');
    expect(await world.effects()).toEqual(['bad']);
  });

  it('leaves records of handlers that this application does not have', async () => {
    world.kafka.produce('t', { value: 'bad' });
    await start();
    await world.closeAll();

    @Controller()
    class Renamed {
      @Durable({ name: 'another' })
      @EventPattern('t')
      run(@Payload() _id: string) {}
    }
    const ledger = await start([Renamed as never]);
    expect(await ledger.redrive()).toMatchObject({ redriven: 0, notConsumed: 1 });
    expect(await ledger.redrive({ group: 'nobody' })).toMatchObject({ redriven: 0, notConsumed: 0 });
  });

  it('goes on where it stopped, within its limit', async () => {
    world.kafka.produce('t', ...[1, 2, 3, 4, 5].map((id) => ({ value: `bad${id}` })));
    const ledger = await start();
    broken = false;
    expect((await ledger.redrive({}, { limit: 2 })).redriven).toBe(2);
    const aborted = new AbortController();
    aborted.abort();
    expect((await ledger.redrive({}, { rate: 1, signal: aborted.signal })).redriven).toBe(1);
    expect((await ledger.redrive({}, { rate: 1_000 })).redriven).toBe(2);
    await eventually(() => world.kafka.records('t').length === 10);
    await world.consumed('t');
    expect((await world.effects()).sort()).toEqual(['bad1', 'bad2', 'bad3', 'bad4', 'bad5']);
  });

  it('takes nothing back once the application is closed', async () => {
    world.kafka.produce('t', { value: 'bad' });
    const ledger = await start();
    broken = false;
    await world.closeAll();
    await expect(ledger.redrive()).rejects.toMatchObject({ code: 'KT_CLOSED' });
    expect(await states()).toHaveLength(1);
  });

  it.each([
    [{ filter: { handlr: 'x' } }],
    [{ options: { rate: 0 } }],
    [{ options: { limit: 0 } }],
    [{ filter: { key: '' } }],
  ])('refuses %j', async ({ filter = {}, options = {} }: { filter?: object; options?: object }) => {
    world.kafka.produce('t', { value: 'a' });
    const ledger = await start();
    await expect(ledger.redrive(filter, options)).rejects.toMatchObject({ code: 'KT_OPTION_INVALID' });
  });
});
