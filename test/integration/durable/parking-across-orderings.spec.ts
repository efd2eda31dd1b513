import { Controller, type INestMicroservice } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import {
  DurableExecution,
  DurableLedger,
  KafkaTerminalException,
  type KafkaTransportOptions,
} from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

/** One letter for each key: the second record of a parked key waits in its place, with later ones of others done. */
const parking: KafkaTransportOptions = {
  onExhausted: 'park',
  retry: { attempts: 2, initial: 1 },
  parking: { retryAfter: 20, factor: 1, attempts: 1_000_000, maxLetters: 1 },
};

describe.each(['transaction', 'claim'] as const)(
  'records that were parked by key, and go on by partition in %s mode',
  (mode) => {
    let world: DurableWorld;
    /** Records that fail, and whether for good. */
    let failing: ReadonlyMap<string, 'retryable' | 'terminal'>;

    beforeEach(async () => {
      world = await DurableWorld.create();
    });

    afterEach(() => world.dispose());

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern('t')
      async run(@Payload() text: string) {
        const how = failing.get(text);
        if (how === 'retryable') throw new Error('not yet');
        if (how === 'terminal') throw new KafkaTerminalException('never');
        if (mode === 'transaction') await world.write(this.durable.client, text);
        else
          await this.durable.transaction('write', async (client) => void (await world.write(client, text)));
      }
    }

    const start = (ordering: 'key' | 'partition'): Promise<INestMicroservice> =>
      world.start({ controllers: [Handlers], server: { ordering, ...parking }, durable: { mode } });
    const letters = async () =>
      (await world.query('select record_offset from {schema}.parked_letters order by record_offset')).map(
        ({ record_offset: offset }) => Number(offset),
      );
    const failOf = (...texts: string[]) => new Map(texts.map((text) => [text, 'retryable' as const]));

    /** Leaves `a1` and `b1` parked, and `a2`, which stands between them, without room behind `a1`. */
    async function parkAroundOne(): Promise<void> {
      failing = failOf('a1', 'b1');
      for (const value of ['a1', 'a2', 'b1']) {
        world.kafka.produce('t', { key: value.charAt(0), value, partition: 0 });
      }
      await start('key');
      await eventually(async () => (await letters()).join() === '0,2');
      await world.closeAll();
    }

    it('do not take those along that wait before them, nor run twice', async () => {
      await parkAroundOne();
      failing = failOf('a1');
      await start('partition');
      await eventually(async () => (await world.effects()).includes('b1'));
      failing = new Map();
      await world.consumed('t');
      await eventually(async () => (await letters()).length === 0);
      expect(await world.effects()).toEqual(['b1', 'a1', 'a2']);
      await world.rewind('t');
      await start('partition');
      await world.consumed('t');
      expect(await world.effects()).toEqual(['b1', 'a1', 'a2']);
    });

    it('do not take those along that wait before them, nor run again, when they end without their handler', async () => {
      await parkAroundOne();
      failing = new Map([...failOf('a1'), ['b1', 'terminal']]);
      const app = await start('partition');
      const ledger = app.get(DurableLedger);
      await eventually(async () => (await letters()).join() === '0');
      failing = new Map();
      await world.consumed('t');
      await eventually(async () => (await letters()).length === 0);
      expect(await world.effects()).toEqual(['a1', 'a2']);
      expect(ledger.counters()).toMatchObject({ dead: 1 });
    });
  },
);
