import { Controller, Module, type INestApplication } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { DurableModule, InvalidOptionError, kafkaServer } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { databaseUrl } from '../../support/ledger-schema.js';
import { NoHttpAdapter } from '../../support/no-http-adapter.js';

describe('the size of the pool', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    @EventPattern('t')
    run(@Payload() _value: unknown) {
      return undefined;
    }
  }

  /** Two servers, of three partitions at once each. */
  async function twoServers(max: number): Promise<INestApplication> {
    const connection = { connectionString: databaseUrl(), max };

    @Module({
      imports: [DurableModule.forRoot({ ...world.connection, connection })],
      controllers: [Handlers],
    })
    class App {}

    const testing = await Test.createTestingModule({ imports: [App] })
      .setLogger(world.log)
      .compile();
    const app = world.closing(testing.createNestApplication(new NoHttpAdapter()));
    for (const groupId of ['east', 'west']) {
      app.connectMicroservice(kafkaServer(world.serverOptions({ consumer: { groupId }, concurrency: 3 })), {
        inheritAppConfig: true,
      });
    }
    return app;
  }

  it('is enough for all servers of an application together', async () => {
    const app = await twoServers(8);
    await app.startAllMicroservices();
  });

  it('is refused where it is enough for each server, but not for both', async () => {
    const app = await twoServers(7);
    const started = app.startAllMicroservices();
    await expect(started).rejects.toThrow(InvalidOptionError);
    await expect(started).rejects.toThrow(/of all servers together\) it needs 8/);
  });
});
