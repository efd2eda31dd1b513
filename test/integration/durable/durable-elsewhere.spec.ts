import { Controller, Get, Injectable, Module } from '@nestjs/common';
import {
  EventPattern,
  Payload,
  Server,
  Transport,
  type CustomTransportStrategy,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { lastValueFrom, type Observable } from 'rxjs';
import { Durable, DurableModule } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { NoHttpAdapter } from '../../support/no-http-adapter.js';
import { writer } from '../../support/writer.js';

/** Some other transport, whose messages are calls of the test. */
class OtherTransport extends Server implements CustomTransportStrategy {
  listen(callback: () => void): void {
    callback();
  }

  close(): void {}

  on(): void {}

  unwrap<T>(): T {
    return undefined as T;
  }

  async deliver(pattern: string, data: unknown): Promise<unknown> {
    const result: unknown = await this.getHandlerByPattern(pattern)!(data, {});
    return lastValueFrom(result as Observable<unknown>);
  }
}

describe('@Durable() where no record of Kafka comes', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  @Controller()
  class Http {
    @Durable()
    @Get()
    get() {}
  }

  @Controller()
  class OverTcp {
    @Durable()
    @EventPattern('t', Transport.TCP)
    onT(@Payload() _: unknown) {}
  }

  @Injectable()
  class Service {
    @Durable()
    work() {}
  }

  it.each([
    ['a route', { controllers: [Http] }, 'Http.get has @Durable()'],
    ['a handler of another transport', { controllers: [OverTcp] }, 'OverTcp.onT has @Durable()'],
    ['a method of a provider', { controllers: [], providers: [Service] }, 'Service.work has @Durable()'],
  ])('keeps an application from starting: %s', async (_, parts, message) => {
    for (const global of [true, false]) {
      await expect(world.start({ ...parts, durable: { global } })).rejects.toMatchObject({
        code: 'KT_NOT_DURABLE',
        message: expect.stringContaining(message) as string,
      });
    }
  });

  it('refuses what another transport brings to a handler for any of them, and leaves undecorated ones to it', async () => {
    const calls: string[] = [];

    @Controller()
    class Handlers {
      @Durable()
      @EventPattern('durable')
      durable(@Payload() text: string) {
        calls.push(text);
      }

      @EventPattern('plain')
      plain(@Payload() text: string) {
        calls.push(text);
      }
    }
    @Module({ imports: [DurableModule.forRoot(world.connection)], controllers: [Handlers, writer(world)] })
    class App {}
    const testing = await Test.createTestingModule({ imports: [App] })
      .setLogger(world.log)
      .compile();
    const app = world.closing(testing.createNestApplication(new NoHttpAdapter()));
    const strategy = new OtherTransport();
    app.connectMicroservice({ strategy }, { inheritAppConfig: true });
    await app.startAllMicroservices();
    await expect(strategy.deliver('durable', 'a')).rejects.toBeDefined();
    await strategy.deliver('plain', 'b');
    expect(calls).toEqual(['b']);
    expect(world.log.matching('Handlers.durable has @Durable()')).not.toEqual([]);
  });
});
