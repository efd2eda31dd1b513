import {
  Catch,
  Controller,
  Inject,
  UseFilters,
  type ArgumentsHost,
  type ExceptionFilter,
} from '@nestjs/common';
import { ClientsModule, EventPattern, MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { EMPTY, firstValueFrom, NEVER, throwError, type Observable } from 'rxjs';
import { ClientKafkaProxy, kafkaClient, type KafkaTransportOptions } from '../../../lib/index.js';
import { deferred, type Deferred } from '../../../lib/runtime/deferred.js';
import { eventually } from '../../support/eventually.js';
import { KafkaApps, type KafkaApp } from '../../support/kafka-app.js';

/** Each of these is a request or an event that the built-in transport never answers, answers wrongly, or never ends. */
describe('What nobody hears of in the built-in transport', () => {
  const apps = new KafkaApps();
  let client: ClientKafkaProxy;
  let running: KafkaApp;
  let serialized: KafkaApp;
  let topics: Record<'asked' | 'outer' | 'slow' | 'events' | 'serialized', string>;
  let serializing: Deferred<void> | undefined;
  let isSlow: Deferred<void>;
  const events: string[] = [];

  const results: Record<string, () => unknown> = {
    plain: () => 'fine',
    'too large': () => 'x'.repeat(2 * 1024 * 1024),
    circular: () => {
      const circle: Record<string, unknown> = {};
      return (circle['self'] = circle);
    },
    'bad header': () => ({ value: 'v', headers: { tag: Symbol('no text') } }),
    'rpc error': () => throwError(() => new RpcException(new Error('inner reason'))),
    'filter: number': () => throwError(() => new Error('5')),
    'filter: error': () => throwError(() => new Error('raw')),
    'filter: nothing': () => throwError(() => new Error('nothing')),
    'filter: nothing, later': () => throwError(() => new Error('later')),
    'filter: empty': () => throwError(() => new Error('empty')),
    never: () => NEVER,
  };

  @Catch()
  class OddFilter implements ExceptionFilter {
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- filters may return anything, and that is the point
    catch(error: Error, _host: ArgumentsHost): any {
      if (error.message === '5') return throwError(() => 5);
      if (error.message === 'nothing') return undefined;
      if (error.message === 'later') return Promise.resolve();
      if (error.message === 'empty') return EMPTY;
      return throwError(() => error);
    }
  }

  beforeAll(async () => {
    await apps.connect();
    isSlow = deferred();
    topics = {
      asked: await apps.topic('asked', { reply: true }),
      outer: await apps.topic('outer', { reply: true }),
      slow: await apps.topic('slow', { reply: true }),
      events: await apps.topic('events'),
      serialized: await apps.topic('serialized', { reply: true }),
    };

    @UseFilters(OddFilter)
    @Controller()
    class Handlers {
      constructor(@Inject('SELF') private readonly self: ClientKafkaProxy) {}

      @MessagePattern(topics.asked)
      asked(@Payload() name: string): unknown {
        return results[name]!();
      }

      /** Asks its own service. */
      @MessagePattern(topics.outer)
      outer(): Observable<unknown> {
        return this.self.send(topics.asked, 'plain');
      }

      @MessagePattern(topics.slow)
      async slow() {
        await isSlow.promise;
        return 'at last';
      }

      @EventPattern<string>(topics.events)
      event(@Payload() name: string): unknown {
        events.push(name);
        return results[name]!();
      }
    }
    const options: KafkaTransportOptions = apps.options(apps.group(), { requestTimeout: 15_000 });
    const newClient = (group: string) => apps.options(group, { requestTimeout: 15_000 });
    const imports = [ClientsModule.register([kafkaClient('SELF', newClient(apps.group()))])];
    running = await apps.start({
      controllers: [Handlers],
      imports,
      server: { shutdownTimeout: 300, deadLetter: true, retry: { attempts: 3, initial: 1 } },
    });
    const self = running.app.get<ClientKafkaProxy>('SELF');
    self.subscribeToResponseOf(topics.asked);
    client = apps.closing(new ClientKafkaProxy(options));
    @Controller()
    class Serialized {
      @MessagePattern(topics.serialized)
      asked(@Payload() name: string): string {
        return name;
      }
    }
    const serializer = {
      serialize: async (value: string) => {
        await serializing?.promise;
        if (value === 'unserializable') throw new Error('no such schema');
        return value;
      },
    };
    serialized = await apps.start({ controllers: [Serialized], server: { serializer } });
    for (const topic of [topics.asked, topics.outer, topics.slow, topics.serialized])
      client.subscribeToResponseOf(topic);
    await client.connect();
  });

  afterAll(() => apps.dispose());

  const ask = (topic: string, name = 'plain') => firstValueFrom(client.send<unknown, string>(topic, name));
  const refusal = (topic: string, name: string) =>
    ask(topic, name).then(
      (reply) => Promise.reject(new Error(`It was answered by ${JSON.stringify(reply)}`)),
      (error: unknown) => error,
    );

  it.each([
    ['too large', /TOO_LARGE/],
    ['circular', /circular/],
    ['bad header', /The header ..tag.. is of type symbol/],
    ['rpc error', /inner reason/],
    ['filter: error', /raw/],
    ['filter: number', /^"5"$/],
    ['filter: nothing', /Internal server error|stream/],
  ])('a requester is told why its reply cannot be sent, or what was thrown: %s', async (name, reason) => {
    const error = await refusal(topics.asked, name);
    expect(JSON.stringify(error)).toMatch(reason);
    expect(await ask(topics.asked)).toBe('fine');
  });

  it('a requester is told that the serializer failed', async () => {
    expect(JSON.stringify(await refusal(topics.serialized, 'unserializable'))).toMatch(/no such schema/);
    expect(await ask(topics.serialized, 'fine')).toBe('fine');
  });

  it.each([
    ['filter: nothing', 3, 1],
    ['filter: nothing, later', 1, 0],
    ['filter: empty', 1, 0],
  ])('a filter that returns nothing does not repeat the event for ever: %s', async (name, runs, letters) => {
    const before = (await apps.read(`${topics.events}.dlt`)).length;
    await apps.emit(topics.events, name);
    await apps.consumed(running.group, topics.events, await apps.end(topics.events));
    expect(events.filter((event) => event === name)).toHaveLength(runs);
    expect(await apps.read(`${topics.events}.dlt`)).toHaveLength(before + letters);
  });

  it('a handler that asks its own service is answered', async () => {
    expect(await ask(topics.outer)).toBe('fine');
  });

  it('a slow request holds up nobody else', async () => {
    const slow = ask(topics.slow);
    for (let n = 0; n < 5; n++) expect(await ask(topics.asked)).toBe('fine');
    isSlow.resolve();
    expect(await slow).toBe('at last');
  });

  it('the offset of a request waits for the serializer of its reply', async () => {
    await apps.consumed(serialized.group, topics.serialized, await apps.end(topics.serialized));
    const before = await apps.end(topics.serialized);
    serializing = deferred();
    let isHandled = false;
    const reply = ask(topics.serialized, 'x').finally(() => (isHandled = true));
    await eventually(async () => (await apps.end(topics.serialized)) === before + 1);
    // Offsets are committed every 50 ms.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([await apps.committed(serialized.group, topics.serialized), isHandled]).toEqual([before, false]);
    serializing.resolve();
    serializing = undefined;
    expect(await reply).toBe('x');
    await apps.consumed(serialized.group, topics.serialized, before + 1);
  });

  it('clients with different topics may share a group: each gets its replies', async () => {
    const groupId = apps.group();
    const clients = [topics.asked, topics.outer].map((topic) => {
      const one = apps.closing(new ClientKafkaProxy(apps.options(groupId, { requestTimeout: 15_000 })));
      one.subscribeToResponseOf(topic);
      return { one, topic };
    });
    await Promise.all(clients.map(({ one }) => one.connect()));
    for (const { one, topic } of clients) {
      expect(await firstValueFrom(one.send<string, string>(topic, 'plain'))).toBe('fine');
    }
  });

  it('a request that is never answered does not keep the server from closing', async () => {
    const never = ask(topics.asked, 'never').catch(() => 'not answered');
    await eventually(
      async () => (await apps.committed(running.group, topics.asked)) < (await apps.end(topics.asked)),
    );
    await running.app.close();
    await client.close();
    expect(await never).toBe('not answered');
  });
});
