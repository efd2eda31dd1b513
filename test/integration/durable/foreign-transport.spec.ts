import { Module, type INestApplication } from '@nestjs/common';
import { Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { DurableModule } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { NoHttpAdapter } from '../../support/no-http-adapter.js';
import { writer } from '../../support/writer.js';

/** Without `nestjs-durable-kafka/register`, which would make it ours. */
const builtIn: MicroserviceOptions = {
  transport: Transport.KAFKA,
  // Nobody listens there: who gets as far as to connect fails otherwise.
  options: { client: { brokers: ['127.0.0.1:1'], retry: { retries: 0 } } },
};

const orders: Record<string, (app: INestApplication) => Promise<unknown>> = {
  'is started before the application': async (app) => {
    app.connectMicroservice(builtIn);
    await app.startAllMicroservices();
  },
  'is started before the application, with its interceptors': async (app) => {
    app.connectMicroservice(builtIn, { inheritAppConfig: true });
    await app.startAllMicroservices();
  },
  'is started with the application': async (app) => {
    app.connectMicroservice(builtIn);
    await app.init();
  },
  'comes when the application has started': async (app) => {
    await app.init();
    app.connectMicroservice(builtIn);
    await app.startAllMicroservices();
  },
};

describe('durable handlers behind Nest’s built-in Kafka transport', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  const compiled = () => {
    @Module({ imports: [DurableModule.forRoot(world.connection)], controllers: [writer(world)] })
    class App {}
    return Test.createTestingModule({ imports: [App] })
      .setLogger(world.log)
      .compile();
  };

  it('do not start as a microservice', async () => {
    const app = world.closing((await compiled()).createNestMicroservice(builtIn));
    await expect(app.listen()).rejects.toThrow(/nestjs-durable-kafka\/register/);
  });

  it.each(Object.keys(orders))('do not start in a hybrid application whose server %s', async (order) => {
    const app = world.closing((await compiled()).createNestApplication(new NoHttpAdapter()));
    await expect(orders[order]!(app)).rejects.toThrow(/nestjs-durable-kafka\/register/);
  });
});
