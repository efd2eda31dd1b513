import { Controller, Inject } from '@nestjs/common';
import { ClientsModule, MessagePattern, Payload } from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { ClientKafkaProxy, kafkaClient, type KafkaTransportOptions } from '../../../lib/index.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { KafkaApps } from '../../support/kafka-app.js';

/** A handler that asks its own service, at a place where nobody can answer before it has returned. */
describe('A handler that waits for itself', () => {
  const apps = new KafkaApps();
  let outside: ClientKafkaProxy;
  const heard = deferred<string>();

  beforeAll(() => apps.connect());
  afterAll(() => apps.dispose());

  /** A service of two topics with one partition each; `how` says what its handler does. */
  async function ask(
    how: string,
    server: KafkaTransportOptions = {},
    requestTimeout = 3_000,
  ): Promise<unknown> {
    const own = await apps.topic('own', { reply: true });
    const other = await apps.topic('other', { reply: true });

    @Controller()
    class Handlers {
      constructor(@Inject('SELF') private readonly self: ClientKafkaProxy) {}

      @MessagePattern(own)
      async own(@Payload() what: string): Promise<string> {
        if (what === 'plain') return 'answered';
        const topic = what === 'waits for the other' ? other : own;
        const reply = firstValueFrom(this.self.send<string>(topic, { key: 'another', value: 'plain' }));
        // As a handler's error it would be "Internal server error" to the one who asked.
        if (what !== 'does not wait') return reply.catch((error: Error) => error.message);
        reply.then(heard.resolve, heard.reject);
        return 'done';
      }

      @MessagePattern(other)
      other(): string {
        return 'answered';
      }
    }
    const newClient = (timeout: number) => apps.options(apps.group(), { requestTimeout: timeout });
    const imports = [ClientsModule.register([kafkaClient('SELF', newClient(requestTimeout))])];
    const { app } = await apps.start({ controllers: [Handlers], imports, server });
    const self = app.get<ClientKafkaProxy>('SELF');
    for (const topic of [own, other]) self.subscribeToResponseOf(topic);
    await self.connect();
    outside = apps.closing(new ClientKafkaProxy(newClient(100_000)));
    outside.subscribeToResponseOf(own);
    await outside.connect();
    const answer = (value: string) => firstValueFrom(outside.send(own, { key: 'outside', value }));
    const result = await answer(how);
    // Whatever became of it, the partition goes on.
    expect(await answer('plain')).toBe('answered');
    return result;
  }

  it('is told why it got no reply: its own record is in the way', async () => {
    expect(await ask('waits for its own')).toMatch(
      /within 3000 ms: the request is \S+-own-\S+\[0\] at 1, .* waits for itself: ask on another topic/,
    );
  });

  it('is told so too where its slot is in the way', async () => {
    expect(await ask('waits for the other', { concurrency: 1 })).toMatch(/-other-.* raise "concurrency"/);
  });

  it('is answered once another slot, or another key, may go ahead of it', async () => {
    expect(await ask('waits for the other', { concurrency: 2 }, 30_000)).toBe('answered');
    expect(await ask('waits for its own', { ordering: 'key', concurrency: 2 }, 30_000)).toBe('answered');
  });

  it('is answered after its end if it does not wait', async () => {
    expect(await ask('does not wait')).toBe('done');
    expect(await heard.promise).toBe('answered');
  });
});
