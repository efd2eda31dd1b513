import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { DurableWorld } from '../../support/durable-app.js';
import { writer } from '../../support/writer.js';

describe('A start that a global guard looks at', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  /** As a guard does that wants a token: what is no record of its own has none. */
  const guard: CanActivate = {
    canActivate: (context: ExecutionContext) => typeof context.switchToRpc().getData() === 'string',
  };
  const providers = [{ provide: APP_GUARD, useValue: guard }];

  it('says that it could not look whether handlers are durable, and they are', async () => {
    world.kafka.produce('t', { value: '1' });
    await world.start({ controllers: [writer(world)], providers });
    await world.consumed('t');
    expect(await world.effects()).toEqual(['1']);
    expect(world.log.matching('start-up probe')).toEqual([expect.stringMatching(/^warn .*guard/)]);
  });

  it.each([
    ['offsets that handlers commit', { run: { autoCommit: false } }, {}, /run\.autoCommit/],
    ['a pool that is too small', { concurrency: 8 }, { max: 3 }, /concurrency|max/],
  ])('is refused all the same for %s', async (_, server, pool, message) => {
    const connection = { connectionString: world.connection.connection as string, ...pool };
    const app = await world.build({
      controllers: [writer(world)],
      providers,
      server,
      durable: { connection },
    });
    await expect(app.listen()).rejects.toThrow(message);
  });
});
