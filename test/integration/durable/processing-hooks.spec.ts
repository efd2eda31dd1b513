import { Controller, Module } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { DurableModule, kafkaServer, ServerKafka } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';

describe("Nest's processing hooks, as tracing tools set them", () => {
  let world: DurableWorld;
  let told: string[];

  beforeEach(async () => {
    world = await DurableWorld.create();
    told = [];
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    @EventPattern('t')
    async run(@Payload() id: string) {
      told.push(`begin ${id}`);
      await Promise.resolve();
      told.push(`end ${id}`);
      if (id === 'bad') throw new Error('bad');
    }

    @MessagePattern('ask')
    ask(@Payload() id: number) {
      told.push(`asked ${id}`);
      return id;
    }
  }

  async function start(hook: (server: ServerKafka) => void): Promise<void> {
    @Module({ imports: [DurableModule.forRoot(world.connection)], controllers: [Handlers] })
    class App {}

    const options = kafkaServer(world.serverOptions());
    hook(options.strategy as ServerKafka);
    const testing = await Test.createTestingModule({ imports: [App] })
      .setLogger(world.log)
      .compile();
    await world.closing(testing.createNestMicroservice(options)).listen();
  }

  it('are called before and after each run, whatever becomes of it', async () => {
    world.kafka.produce('t', { value: 'a' }, { value: 'bad' });
    await start((server) => {
      server.setOnProcessingStartHook((_transport, _context, done) => {
        told.push('start');
        return done() as unknown;
      });
      server.setOnProcessingEndHook(() => told.push('over'));
    });
    await world.consumed('t');
    const runs = told.join(', ').split(/(?<=over), /);
    expect(new Set(runs)).toEqual(
      new Set(['start, begin a, end a, over', 'start, begin bad, end bad, over']),
    );
    world.request('ask', 7);
    await world.consumed('ask');
    expect(told.slice(-3)).toEqual(['start', 'asked 7', 'over']);
    expect(world.replies('ask')).toHaveLength(1);
  });

  it('have a run fail that they do not let begin', async () => {
    let calls = 0;
    world.kafka.produce('t', { value: 'a' }, { value: 'b' });
    await start((server) => {
      server.setOnProcessingStartHook((_transport, _context, done) => {
        if (++calls <= 2) throw new Error('no tracer');
        return done() as unknown;
      });
    });
    await world.consumed('t');
    expect(told).toEqual(['begin a', 'end a', 'begin b', 'end b']);
  });

  it('may be one at the end alone', async () => {
    world.kafka.produce('t', { value: 'a' });
    await start((server) => server.setOnProcessingEndHook(() => told.push('over')));
    await world.consumed('t');
    expect(told).toEqual(['begin a', 'end a', 'over']);
  });
});
