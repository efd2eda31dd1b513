import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { Durable, DurableExecution } from '../../../lib/index.js';
import { DurableWorld, valueOf } from '../../support/durable-app.js';
import { PostgresProxy } from '../../support/postgres-proxy.js';

describe('a step in claim mode whose COMMIT took effect without an answer', () => {
  let world: DurableWorld;
  let proxy: PostgresProxy;

  beforeEach(async () => {
    world = await DurableWorld.create();
    proxy = await PostgresProxy.start();
  });

  afterEach(async () => {
    await world.dispose();
    await proxy.stop();
  });

  it('is not repeated, and what it emitted is produced before its handler runs again', async () => {
    /** By run: what had been produced when it began. */
    const produced: unknown[][] = [];

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @Durable({ mode: 'claim' })
      @EventPattern('t')
      async run(@Payload() _payload: string) {
        produced.push(world.kafka.records('out').map(valueOf));
        try {
          await this.durable.transaction('charge', async (client) => {
            await world.write(client, 'charged');
            await this.durable.emit('out', { charged: true });
            if (produced.length === 1) proxy.cutAtCommit = 'after';
          });
        } finally {
          proxy.cutAtCommit = undefined;
        }
      }
    }

    world.kafka.produce('t', { value: 'x', headers: { 'idempotency-key': 'k' } });
    await world.start({ controllers: [Handlers], durable: { connection: proxy.url } });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['charged']);
    const [first, ...later] = produced;
    expect(first).toEqual([]);
    expect(later.length).toBeGreaterThan(0);
    expect(later).toEqual(later.map(() => [{ charged: true }]));
  });
});
