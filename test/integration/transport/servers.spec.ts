import {
  Controller,
  Inject,
  Injectable,
  Module,
  Scope,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { APP_INTERCEPTOR, NestFactory } from '@nestjs/core';
import {
  Client,
  ClientsModule,
  CONTEXT,
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  type RequestContext,
} from '@nestjs/microservices';
import { lastValueFrom } from 'rxjs';
import {
  ClientKafkaProxy,
  DurableExecution,
  DurableModule,
  kafkaClient,
  ServerKafka,
  type KafkaDeliveryContext,
} from '../../../lib/index.js';
import { NotDurableError, TopicMissingError } from '../../../lib/errors/errors.js';
import { KafkaApps } from '../../support/kafka-app.js';
import { databaseUrl } from '../../support/ledger-schema.js';
import { NoHttpAdapter } from '../../support/no-http-adapter.js';
import { eventually } from '../../support/eventually.js';

const apps = new KafkaApps();

beforeAll(() => apps.connect());
afterAll(() => apps.dispose());

/** A Kafka server of a hybrid application. */
function serverOf(group: string, id?: symbol): ServerKafka {
  const server = new ServerKafka(apps.options(group));
  if (id) server.setTransportId(id);
  return server;
}

describe('a server', () => {
  it('tells its status in order, through its close, and starts again', async () => {
    const topic = await apps.topic();
    const seen: string[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      one(@Payload() id: string) {
        seen.push(id);
      }
    }
    const { server, app, group } = await apps.build({ controllers: [Handlers] });
    const statuses: string[] = [];
    server.status.subscribe((status) => statuses.push(status));
    expect(() => server.unwrap()).toThrow(/listen/);
    await app.listen();
    expect(statuses).toEqual(['connected']);
    expect(() => server.on()).toThrow(/status/);
    const [kafka, consumer, producer] = server.unwrap();
    expect(kafka).toHaveProperty('admin');
    expect(consumer).toHaveProperty('commitOffsets');
    expect(producer).toHaveProperty('sendBatch');

    // A second member comes and goes.
    const other = await apps.start({ controllers: [Handlers], server: { consumer: { groupId: group } } });
    await eventually(() => statuses.includes('rebalancing') && statuses.at(-1) === 'connected');
    await other.app.close();

    await server.close();
    await server.close();
    const before = statuses.length;
    expect(statuses.slice(-2)).toEqual(['stopped', 'disconnected']);
    const failure = await new Promise((resolve) => void server.listen(resolve));
    expect(failure).toBeUndefined();
    expect(statuses.slice(before)[0]).toBe('connected');
    await apps.emit(topic, 'a');
    await apps.consumed(group, topic, 1);
    expect(seen).toEqual(['a']);
  });

  it('provisions the topics of its handlers and their reply topics, unless told not to', async () => {
    const [ask, event] = [apps.topicName('provision-ask'), apps.topicName('provision-event')];

    @Controller()
    class Handlers {
      @MessagePattern(ask)
      answer() {
        return 'yes';
      }

      @EventPattern<string>(event)
      event() {}
    }
    const existing = async () => {
      const admin = apps.kafka.admin();
      await admin.connect();
      const names = new Set(await admin.listTopics());
      await admin.disconnect();
      return [ask, `${ask}.reply`, event, `${event}.reply`].filter((topic) => names.has(topic));
    };
    for (const server of [
      { provision: false },
      { consumer: { groupId: apps.group(), allowAutoTopicCreation: false } },
    ]) {
      const refused = await apps.build({ controllers: [Handlers], server });
      await expect(refused.app.listen()).rejects.toBeInstanceOf(TopicMissingError);
      expect(await existing()).toEqual([]);
    }
    await apps.start({ controllers: [Handlers] });
    expect((await existing()).sort()).toEqual([ask, `${ask}.reply`, event].sort());
  });
});

describe('a client', () => {
  it('tells its status in order, and again after it was closed', async () => {
    const topic = await apps.topic('status', { reply: true });
    const client = apps.closing(new ClientKafkaProxy(apps.options(apps.group())));
    const statuses: string[] = [];
    client.status.subscribe((status) => statuses.push(status));
    client.subscribeToResponseOf(topic);
    for (let round = 0; round < 2; round++) {
      await client.connect();
      expect(statuses.at(-1)).toBe('connected');
      await client.close();
      await client.close();
    }
    expect(statuses).toEqual([
      'connected',
      'stopped',
      'disconnected',
      'connected',
      'stopped',
      'disconnected',
    ]);
  });
});

describe('an application', () => {
  it('may have several servers, told apart by symbols, besides HTTP', async () => {
    const [EAST, WEST] = [Symbol('east'), Symbol('west')];
    const topic = await apps.topic('several');
    const seen: string[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic, EAST)
      east(@Payload() id: string) {
        seen.push(`east ${id}`);
      }

      @EventPattern<string>(topic, WEST)
      west(@Payload() id: string) {
        seen.push(`west ${id}`);
      }

      @EventPattern<string>(topic)
      both(@Payload() id: string) {
        seen.push(`both ${id}`);
      }
    }

    @Module({ controllers: [Handlers] })
    class App {}
    const app = apps.closing(await NestFactory.create(App, new NoHttpAdapter(), { logger: false }));
    const groups = [apps.group('east'), apps.group('west')];
    app.connectMicroservice({ strategy: serverOf(groups[0]!, EAST) });
    app.connectMicroservice({ strategy: serverOf(groups[1]!, WEST) });
    await app.startAllMicroservices();
    await apps.emit(topic, 'a');
    for (const group of groups) await apps.consumed(group, topic, 1);
    expect(seen.sort()).toEqual(['both a', 'both a', 'east a', 'west a']);
  });

  it.each([
    [true, ['global a']],
    [false, []],
  ])(
    'has its global interceptors reach a server with inheritAppConfig: %p',
    async (inheritAppConfig, wanted) => {
      const topic = await apps.topic('inherit');
      const seen: string[] = [];
      let handled = 0;

      @Injectable()
      class Recorder implements NestInterceptor {
        intercept(context: ExecutionContext, next: CallHandler) {
          seen.push(`global ${context.switchToRpc().getData<string>()}`);
          return next.handle();
        }
      }

      @Controller()
      class Handlers {
        @EventPattern<string>(topic)
        one() {
          handled++;
        }
      }

      @Module({ controllers: [Handlers], providers: [{ provide: APP_INTERCEPTOR, useClass: Recorder }] })
      class App {}
      const app = apps.closing(await NestFactory.create(App, new NoHttpAdapter(), { logger: false }));
      app.connectMicroservice({ strategy: serverOf(apps.group()) }, { inheritAppConfig });
      await app.startAllMicroservices();
      await apps.emit(topic, 'a');
      await eventually(() => handled === 1);
      expect(seen).toEqual(wanted);
    },
  );

  it('may have request-scoped controllers and durable providers, made anew for each attempt', async () => {
    const [topic, asked] = [await apps.topic('scoped'), await apps.topic('scoped-asked', { reply: true })];
    const seen: string[] = [];
    let made = 0;

    @Injectable({ scope: Scope.REQUEST })
    class PerRecord {
      readonly number = ++made;
      constructor(@Inject(CONTEXT) readonly context: RequestContext<unknown, KafkaDeliveryContext>) {}
    }

    @Controller()
    class Handlers {
      constructor(private readonly own: PerRecord) {}

      @EventPattern<string>(topic)
      one(@Payload() id: string, @Ctx() context: KafkaDeliveryContext) {
        const { number, context: request } = this.own;
        seen.push(`${id} ${number} ${context.attempt} ${request.getContext().getTopic() === topic}`);
        if (id === 'b' && context.attempt < 2) throw new Error('again');
      }

      @MessagePattern(asked)
      answer(@Payload() id: string) {
        return `${id} of ${String(this.own.context.getData())}`;
      }
    }
    await apps.emit(topic, 'a', 'b', 'c');
    const { group } = await apps.start({ controllers: [Handlers], providers: [PerRecord] });
    await apps.consumed(group, topic, 3);
    expect(seen).toEqual(['a 1 1 true', 'b 2 1 true', 'b 3 2 true', 'c 4 1 true']);
    const client = apps.closing(new ClientKafkaProxy(apps.options(apps.group())));
    client.subscribeToResponseOf(asked);
    expect(await lastValueFrom(client.send(asked, 'x'))).toBe('x of x');
  });

  it('injects clients made by ClientsModule, registerAsync and @Client()', async () => {
    const topic = await apps.topic('clients', { reply: true });

    class Clients {
      @Client({ customClass: ClientKafkaProxy, options: apps.options(apps.group()) } as never)
      decorated!: ClientKafkaProxy;

      constructor(
        @Inject('SYNC') readonly sync: ClientKafkaProxy,
        @Inject('ASYNC') readonly async: ClientKafkaProxy,
      ) {}
    }

    @Controller()
    class Handlers extends Clients {
      @MessagePattern(topic)
      answer(@Payload() id: string) {
        return `to ${id}`;
      }
    }
    const groups = [apps.group(), apps.group()] as const;
    const { app } = await apps.start({
      controllers: [Handlers],
      imports: [
        ClientsModule.register([kafkaClient('SYNC', apps.options(groups[0]))]),
        ClientsModule.registerAsync([
          {
            name: 'ASYNC',
            useFactory: () => ({ customClass: ClientKafkaProxy, options: apps.options(groups[1]) as never }),
          },
        ]),
      ],
    });
    const { sync, async: later, decorated } = app.get(Handlers);
    for (const [name, client] of Object.entries({ sync, later, decorated })) {
      client.subscribeToResponseOf(topic);
      await client.connect();
      expect(await lastValueFrom(client.send(topic, name))).toBe(`to ${name}`);
      await client.close();
    }
  });
});

describe('a durable application with servers of their own transport ids', () => {
  const start = async (inheritAppConfig: boolean) => {
    const [EAST, WEST] = [Symbol('east'), Symbol('west')];
    const topic = await apps.topic('durable-several');
    const keys: unknown[] = [];

    @Controller()
    class Handlers {
      constructor(private readonly durable: DurableExecution) {}

      @EventPattern<string>(topic, EAST)
      async east(@Ctx() context: KafkaDeliveryContext) {
        await this.durable.client.query('select 1');
        keys.push(context.key);
      }

      @EventPattern<string>(topic, WEST)
      west(@Ctx() context: KafkaDeliveryContext) {
        keys.push(context.key);
      }
    }

    @Module({
      imports: [DurableModule.forRoot({ connection: databaseUrl(), schema: apps.schema() })],
      controllers: [Handlers],
    })
    class App {}
    const app = apps.closing(await NestFactory.create(App, new NoHttpAdapter(), { logger: false }));
    for (const id of [EAST, WEST])
      app.connectMicroservice({ strategy: serverOf(apps.group(), id) }, { inheritAppConfig });
    await app.startAllMicroservices();
    return { topic, keys };
  };

  it('runs the handlers of each durably', async () => {
    const { topic, keys } = await start(true);
    await apps.produce({ topic, key: null, value: null, headers: [['idempotency-key', Buffer.from('k')]] });
    await eventually(() => keys.length === 2);
    expect(keys).toEqual(['k', 'k']);
  });

  it('does not start where its interceptor does not reach them', async () => {
    await expect(start(false)).rejects.toBeInstanceOf(NotDurableError);
  });
});
