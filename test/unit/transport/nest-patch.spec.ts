import 'reflect-metadata';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  Client,
  ClientProxy,
  ClientProxyFactory,
  ClientsModule,
  NestMicroservice,
  Server,
  Transport,
  type CustomTransportStrategy,
} from '@nestjs/microservices';
import { patchNest, warnOfSecondCopy } from '../../../lib/transport/nest-patch.js';

class FakeServer extends Server implements CustomTransportStrategy {
  static made = 0;

  constructor(readonly given: unknown) {
    super();
    FakeServer.made++;
  }

  listen(callback: () => void): void {
    callback();
  }

  close(): void {}
  on(): void {}

  unwrap<T>(): T {
    return this as unknown as T;
  }
}

class FakeClient extends ClientProxy {
  constructor(readonly given: unknown) {
    super();
  }

  connect(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}

  unwrap<T>(): T {
    return this as unknown as T;
  }

  protected publish(): () => void {
    return () => undefined;
  }

  protected dispatchEvent<T>(): Promise<T> {
    return Promise.resolve(undefined as T);
  }
}

class OtherServer extends FakeServer {}
class OtherClient extends FakeClient {}

const options = { client: { brokers: ['nowhere:1'] }, consumer: { groupId: 'g' } };

@Injectable()
class Config {
  readonly kafka = options;
}

@Injectable()
class Asking {
  @Client({ transport: Transport.KAFKA, options })
  readonly client!: ClientProxy;
}

@Module({ providers: [Config, Asking], exports: [Config] })
class AppModule {}

/** The server that Nest made for a microservice of these options. */
async function serverOf(config: object): Promise<unknown> {
  const app = await NestFactory.createMicroservice(AppModule, { logger: false, ...config });
  const server: unknown = (app as unknown as { serverInstance: unknown }).serverInstance;
  await app.close();
  return server;
}

patchNest({ server: FakeServer, client: FakeClient });

describe('Nest, once patched', () => {
  it('builds our server for Transport.KAFKA, with the options as given', async () => {
    const server = await serverOf({ transport: Transport.KAFKA, options });
    expect(server).toBeInstanceOf(FakeServer);
    expect((server as FakeServer).given).toBe(options);
    expect(((await serverOf({ transport: Transport.KAFKA })) as FakeServer).given).toEqual({});
  });

  it('builds it from a factory, which is called once with what it injects', async () => {
    const calls: unknown[] = [];
    const useFactory = (config: Config) => {
      calls.push(config);
      return { transport: Transport.KAFKA, options: config.kafka };
    };
    const server = await serverOf({ useFactory, inject: [Config] });
    expect(server).toBeInstanceOf(FakeServer);
    expect((server as FakeServer).given).toBe(options);
    expect(calls).toEqual([expect.any(Config)]);
  });

  it('lets an explicit strategy win, also from a factory', async () => {
    const strategy = new OtherServer(undefined);
    const before = FakeServer.made;
    expect(await serverOf({ strategy, transport: Transport.KAFKA })).toBe(strategy);
    expect(await serverOf({ useFactory: () => ({ strategy, transport: Transport.KAFKA }), inject: [] })).toBe(
      strategy,
    );
    expect(FakeServer.made).toBe(before);
  });

  it('leaves other transports alone', async () => {
    expect(await serverOf({ transport: Transport.TCP })).not.toBeInstanceOf(FakeServer);
    expect(await serverOf({})).not.toBeInstanceOf(FakeServer);
    expect(ClientProxyFactory.create({ transport: Transport.TCP })).not.toBeInstanceOf(FakeClient);
    expect(ClientProxyFactory.create({} as never)).not.toBeInstanceOf(FakeClient);
  });

  it('builds our client for the factory, ClientsModule and @Client()', async () => {
    const client = ClientProxyFactory.create({ transport: Transport.KAFKA, options });
    expect(client).toBeInstanceOf(FakeClient);
    expect((client as unknown as FakeClient).given).toBe(options);

    const useFactory = () => Promise.resolve({ transport: Transport.KAFKA as const, options });
    @Module({
      imports: [
        ClientsModule.register([{ name: 'PLAIN', transport: Transport.KAFKA, options }]),
        ClientsModule.registerAsync([{ name: 'ASYNC', useFactory }]),
      ],
      providers: [Asking],
    })
    class ClientsApp {}
    const app = await NestFactory.createMicroservice(ClientsApp, {
      logger: false,
      strategy: new OtherServer(undefined),
    });
    await app.init();
    expect(app.get('PLAIN')).toBeInstanceOf(FakeClient);
    expect(app.get('ASYNC')).toBeInstanceOf(FakeClient);
    expect(app.get(Asking).client).toBeInstanceOf(FakeClient);
    await app.close();
  });

  it('lets an explicit customClass win', () => {
    const config = { customClass: OtherClient, transport: Transport.KAFKA, options };
    expect(ClientProxyFactory.create(config)).toBeInstanceOf(OtherClient);
  });

  it('is not patched twice', () => {
    const { createServer } = NestMicroservice.prototype;
    const { create } = ClientProxyFactory;
    patchNest({ server: OtherServer, client: OtherClient });
    expect(NestMicroservice.prototype.createServer).toBe(createServer);
    expect(ClientProxyFactory.create).toBe(create);
  });
});

describe('a second copy of @nestjs/microservices', () => {
  const warnings: string[] = [];
  const log = { warn: (line: string) => warnings.push(line) };

  it('is warned of', async () => {
    const root = await mkdtemp(join(tmpdir(), 'copy-'));
    const home = join(root, 'node_modules/@nestjs/microservices');
    await mkdir(home, { recursive: true });
    await writeFile(join(home, 'package.json'), '{"name":"@nestjs/microservices","main":"index.js"}');
    await writeFile(join(home, 'index.js'), '');
    try {
      warnOfSecondCopy([join(root, 'main.js')], log as never);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toContain(home);
    } finally {
      await rm(root, { recursive: true });
    }
  });

  it('is not, where there is none', () => {
    warnings.length = 0;
    warnOfSecondCopy([import.meta.url, '/nowhere/at/all.js', 'not a path'], log as never);
    expect(warnings).toEqual([]);
  });
});
