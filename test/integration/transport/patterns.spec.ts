import { Controller } from '@nestjs/common';
import {
  Ctx,
  EventPattern,
  KafkaContext,
  MessagePattern,
  Payload,
  type ConsumerDeserializer,
} from '@nestjs/microservices';
import { lastValueFrom } from 'rxjs';
import { ClientKafkaProxy } from '../../../lib/index.js';
import { KafkaApps } from '../../support/kafka-app.js';
import { eventually } from '../../support/eventually.js';

describe('patterns', () => {
  const apps = new KafkaApps();

  beforeAll(() => apps.connect());
  afterAll(() => apps.dispose());

  it('are topics and lists of topics, with any number of handlers each', async () => {
    const [one, two] = [await apps.topic('one', { reply: true }), await apps.topic('two')];
    const seen: string[] = [];

    @Controller()
    class First {
      @EventPattern<unknown>([one, two])
      both(@Payload() id: string, @Ctx() context: KafkaContext) {
        seen.push(`both ${context.getTopic() === one ? 'one' : 'two'} ${id}`);
      }

      @MessagePattern(one)
      answer(@Payload() id: string) {
        seen.push(`answer one ${id}`);
        return `to ${id}`;
      }
    }

    @Controller()
    class Second {
      @EventPattern<string>(one)
      one(@Payload() id: string) {
        seen.push(`second one ${id}`);
      }
    }
    const { group } = await apps.start({ controllers: [First, Second] });
    const client = apps.closing(new ClientKafkaProxy(apps.options(apps.group())));
    client.subscribeToResponseOf(one);
    expect(await lastValueFrom(client.send(one, 'a'))).toBe('to a');
    await lastValueFrom(client.emit(two, 'b'));
    await apps.consumed(group, one, 1);
    await apps.consumed(group, two, 1);
    expect(seen.sort()).toEqual(['answer one a', 'both one a', 'both two b', 'second one a']);
  });

  it('may be regular expressions, which find topics that are made later', async () => {
    const early = await apps.topic('found-early', { reply: true });
    const seen: string[] = [];

    @Controller()
    class Handlers {
      @EventPattern<RegExp>(new RegExp(`^tt-found-\\w+-${apps.id}-\\d+$`))
      found(@Payload() id: string) {
        seen.push(id);
      }

      @MessagePattern(new RegExp(`^${early}$`))
      answer(@Payload() id: string) {
        return `to ${id}`;
      }
    }
    const { group } = await apps.start({
      controllers: [Handlers],
      server: { consumer: { groupId: apps.group(), metadataMaxAge: 300 } },
    });
    const client = apps.closing(new ClientKafkaProxy(apps.options(apps.group())));
    client.subscribeToResponseOf(early);
    expect(await lastValueFrom(client.send(early, 'early'))).toBe('to early');
    const late = await apps.topic('found-late');
    await apps.emit(late, 'late 1', 'late 2');
    await eventually(() => seen.length === 3);
    expect(seen).toEqual(['early', 'late 1', 'late 2']);
    await apps.consumed(group, late, 2);
  });

  describe.each([
    ['at once', <T>(value: T) => value],
    ['by a promise', <T>(value: T) => Promise.resolve(value)],
    ["by another library's promise", <T>(value: T) => thenable(value)],
  ] as const)('given by a deserializer %s', (_, give) => {
    let topic: string;
    let other: string;
    let seen: string[];
    let calls: number;

    const start = () => {
      seen = [];
      calls = 0;

      @Controller()
      class Handlers {
        @EventPattern<string>(topic)
        plain(@Payload() data: unknown) {
          seen.push(`plain ${JSON.stringify(data)}`);
        }

        @MessagePattern(other)
        wrapped(@Payload() data: unknown) {
          seen.push(`wrapped ${JSON.stringify(data)}`);
          return { heard: data };
        }
      }
      const deserializer = {
        deserialize: (message: { value: unknown }, options: { channel: string }) => {
          calls++;
          const { value } = message;
          if (value === 'refuse') throw new Error('no');
          const { type, data } = value as { type?: string; data: unknown };
          if (type === 'lost') return give({ pattern: 'nobody', data });
          return give({ pattern: type === 'wrapped' ? other : options.channel, data });
        },
      } as unknown as ConsumerDeserializer;
      return apps.start({ controllers: [Handlers], server: { deserializer, deadLetter: true } });
    };

    beforeEach(async () => {
      topic = await apps.topic('routed', { reply: true });
      other = await apps.topic('routed-other');
      await apps.create([`${topic}.dlt`]);
    });

    it('lead to their handlers, whatever the topic', async () => {
      await apps.emit(topic, '{"data":1}', '{"type":"wrapped","data":2}', '{"data":3}');
      const { group } = await start();
      await apps.consumed(group, topic, 3);
      expect(seen).toEqual(['plain 1', 'wrapped 2', 'plain 3']);
      expect(calls).toBe(3);
    });

    it('decide whether a request is answered, and by whom', async () => {
      await start();
      const client = apps.closing(new ClientKafkaProxy(apps.options(apps.group())));
      client.subscribeToResponseOf(topic);
      expect(await lastValueFrom(client.send(topic, { type: 'wrapped', data: 'x' }))).toEqual({ heard: 'x' });
      await expect(lastValueFrom(client.send(topic, { type: 'lost' }))).rejects.toMatchObject({
        message: expect.stringContaining('no matching handler'),
      });
      await expect(lastValueFrom(client.send(topic, 'refuse'))).rejects.toMatchObject({
        message: 'The record could not be deserialized',
      });
    });

    it('of nobody, or none at all, are dead letters', async () => {
      await apps.emit(topic, '{"type":"lost"}', 'refuse', '{"data":3}');
      const { group } = await start();
      await apps.consumed(group, topic, 3);
      expect(seen).toEqual(['plain 3']);
      const letters = await apps.read(`${topic}.dlt`);
      const reasons = letters.map(({ headers }) => headers.find(([name]) => name === 'dlt-reason')![1]);
      expect(reasons.map(String)).toEqual(['no-handler', 'undecodable']);
    });
  });

  it('do not keep a server from closing whose deserializer never answers', async () => {
    const topic = await apps.topic('hanging');
    let asked = false;

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      never(): never {
        throw new Error('must not be called');
      }
    }
    await apps.emit(topic, 'a');
    const deserialize = () => {
      asked = true;
      return new Promise<never>(() => undefined);
    };
    const { app } = await apps.start({
      controllers: [Handlers],
      server: { deserializer: { deserialize } as unknown as ConsumerDeserializer, shutdownTimeout: 50 },
    });
    await eventually(() => asked);
    await app.close();
  });
});

/** A promise of a library that knows `then` and nothing else. */
function thenable<T>(value: T): PromiseLike<T> {
  const { then } = Promise.resolve(value);
  return { then: then.bind(Promise.resolve(value)) as PromiseLike<T>['then'] };
}
