import { Controller } from '@nestjs/common';
import {
  Ctx,
  EventPattern,
  KafkaRetriableException,
  MessagePattern,
  Payload,
  RpcException,
} from '@nestjs/microservices';
import {
  concat,
  concatMap,
  delay,
  EMPTY,
  from,
  lastValueFrom,
  NEVER,
  Observable,
  of,
  throwError,
  toArray,
} from 'rxjs';
import { ClientKafkaProxy, type KafkaDeliveryContext } from '../../../lib/index.js';
import { KafkaApps, type KafkaApp } from '../../support/kafka-app.js';

const later = <T>(value: T) => of(value).pipe(delay(20));

describe('what handlers return and throw', () => {
  const apps = new KafkaApps();
  const runs: string[] = [];
  let requests: string;
  let events: string;
  let client: ClientKafkaProxy;
  let running: KafkaApp;
  let unsubscribed = 0;

  const endless = new Observable<never>(() => () => void unsubscribed++);

  const RESULTS: Record<string, (context: KafkaDeliveryContext) => unknown> = {
    message: () => ({ key: 'k', value: { a: 1 }, headers: { tag: ['x', 'y'], one: Buffer.from([1]) } }),
    tombstone: () => ({ key: 'k', value: null }),
    nothing: () => undefined,
    empty: () => EMPTY,
    'empty later': () => concat(later(1).pipe(concatMap(() => EMPTY))),
    several: () => of(1, { two: 2 }, 'three'),
    'several later': () => from([1, 2, 3]).pipe(concatMap(later)),
    'a promise of several': () => Promise.resolve(of('a', 'b')),
    never: () => endless,
    'one, then never': () => concat(of('one'), NEVER),
    'rpc text': () => {
      throw new RpcException('no such thing');
    },
    'rpc object': () => throwError(() => new RpcException({ code: 404, nested: { a: [1] } })),
    'plain error': () => Promise.reject(new Error('secret')),
    'error after one': () =>
      concat(
        later(1),
        throwError(() => new RpcException({ code: 5 })),
      ),
    retriable: ({ attempt }) => {
      if (attempt < 3) throw new KafkaRetriableException('once more');
      return `after ${attempt}`;
    },
    'retriable in a stream': ({ attempt }) =>
      attempt < 2 ? throwError(() => new KafkaRetriableException('once more')) : of(`after ${attempt}`),
    'retriable for ever': () => {
      throw new KafkaRetriableException('for ever');
    },
  };

  const EVENTS: Record<string, (context: KafkaDeliveryContext) => unknown> = {
    empty: () => EMPTY,
    several: () => of(1, 2),
    'several later': () => from([1, 2]).pipe(concatMap(later)),
    'throws once': ({ attempt }) => {
      if (attempt < 2) throw new Error('once');
    },
    'rpc once': ({ attempt }) => (attempt < 2 ? throwError(() => new RpcException('once')) : EMPTY),
    'retriable once': ({ attempt }) => {
      if (attempt < 2) throw new KafkaRetriableException('once');
    },
    'error after one, once': ({ attempt }) =>
      attempt < 2
        ? concat(
            later(1),
            throwError(() => new Error('once')),
          )
        : of(1),
    'never, once': ({ attempt }) => (attempt < 2 ? endless : EMPTY),
  };

  beforeAll(async () => {
    await apps.connect();
    [requests, events] = [await apps.topic('results', { reply: true }), await apps.topic('results-events')];

    @Controller()
    class Handlers {
      @MessagePattern(requests)
      request(@Payload() name: string, @Ctx() context: KafkaDeliveryContext) {
        runs.push(name);
        return RESULTS[name]!(context);
      }

      @EventPattern<string>(events)
      event(@Payload() name: string, @Ctx() context: KafkaDeliveryContext) {
        runs.push(name);
        return EVENTS[name]!(context);
      }
    }
    running = await apps.start({
      controllers: [Handlers],
      server: {
        handlerTimeout: 2_000,
        streamOffsetTimeout: 2_000,
        retry: { attempts: 4, initial: 1, max: 5 },
      },
    });
    client = apps.closing(new ClientKafkaProxy(apps.options(apps.group(), { requestTimeout: 60_000 })));
    client.subscribeToResponseOf(requests);
    await client.connect();
  });
  afterAll(() => apps.dispose());
  beforeEach(() => {
    runs.length = 0;
    unsubscribed = 0;
  });

  const ask = (name: string) => lastValueFrom(client.send<unknown, string>(requests, name).pipe(toArray()));

  it.each([
    ['message', [{ a: 1 }]],
    ['tombstone', [null]],
    ['nothing', [null]],
    ['several', [1, { two: 2 }, 'three']],
    ['several later', [1, 2, 3]],
    ['a promise of several', ['a', 'b']],
    ['retriable', ['after 3']],
    ['retriable in a stream', ['after 2']],
  ])('answers a request with %s', async (name, wanted) => {
    // Scalars travel as text, as in Nest.
    expect(await ask(name)).toEqual(
      wanted.map((value) => (typeof value === 'number' ? String(value) : value)),
    );
  });

  it.each([['empty'], ['empty later']])('ends a request that is answered with nothing: %s', async (name) => {
    expect(await ask(name)).toEqual([null]);
    expect(runs).toEqual([name]);
  });

  it.each([
    ['rpc text', { status: 'error', message: 'no such thing' }],
    ['rpc object', { code: 404, nested: { a: [1] } }],
    ['plain error', { status: 'error', message: 'Internal server error' }],
    ['retriable for ever', { status: 'error', message: 'for ever' }],
  ])('answers a request with an error: %s', async (name, wanted) => {
    await expect(ask(name)).rejects.toEqual(wanted);
    expect(runs).toHaveLength(name === 'retriable for ever' ? 4 : 1);
  });

  it('answers values and then the error that follows them', async () => {
    const values: unknown[] = [];
    await expect(
      new Promise((resolve, reject) =>
        client.send<unknown, string>(requests, 'error after one').subscribe({
          next: (value) => values.push(value),
          complete: () => resolve(undefined),
          error: reject,
        }),
      ),
    ).rejects.toEqual({ code: 5 });
    expect(values).toEqual(['1']);
  });

  it('gives up what never answers at handlerTimeout, with an error, and unsubscribes', async () => {
    await expect(ask('never')).rejects.toMatchObject({ name: 'HandlerTimeoutError' });
    expect(unsubscribed).toBe(1);
  });

  it('does not let a stream without end hold up the next request or its own offset', async () => {
    const endless = client
      .send<unknown, string>(requests, 'one, then never')
      .subscribe({ error: () => undefined });
    expect(await ask('several')).toHaveLength(3);
    await apps.consumed(running.group, requests, await apps.end(requests));
    endless.unsubscribe();
    expect(running.log.matching('streamOffsetTimeout')).toHaveLength(1);
  });

  it('writes replies with key, headers, repeated headers and no value as the handler says', async () => {
    const topic = `${requests}.reply`;
    const before = (await apps.read(topic)).length;
    await ask('message');
    await ask('tombstone');
    const [message, tombstone] = (await apps.read(topic)).slice(before);
    const own = message!.headers.filter(([name]) => !name.startsWith('kafka_'));
    expect({ key: String(message!.key), value: String(message!.value), own }).toEqual({
      key: 'k',
      value: '{"a":1}',
      own: [
        ['tag', Buffer.from('x')],
        ['tag', Buffer.from('y')],
        ['one', Buffer.from([1])],
      ],
    });
    expect([String(tombstone!.key), tombstone!.value]).toEqual(['k', null]);
  });

  it.each(Object.keys(EVENTS))('tries an event until it is handled: %s', async (name) => {
    const times = name.endsWith('once') ? 2 : 1;
    await apps.emit(events, name);
    await apps.consumed(running.group, events, await apps.end(events));
    expect(runs).toEqual(Array.from({ length: times }, () => name));
    expect(unsubscribed).toBe(name === 'never, once' ? 1 : 0);
  });
});
