import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { NotDurable, type DurableModuleOptions } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

const DAY = 24 * 3_600_000;

describe('Topics that keep records for longer than their keys are remembered', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
    const admin = world.kafka.createAdmin();
    await admin.connect();
    const days = { long: 30 * DAY, other: 30 * DAY, endless: -1, plain: 7 * DAY };
    await admin.createTopics(
      Object.entries(days).map(([topic, retention]) => ({
        topic,
        configEntries: [{ name: 'retention.ms', value: String(retention) }],
      })),
    );
    await admin.disconnect();
  });

  afterEach(() => world.dispose());

  @Controller()
  class Handlers {
    @EventPattern('long')
    onLong(@Payload() _: unknown) {}

    @EventPattern(/^endless$/)
    onEndless(@Payload() _: unknown) {}

    @EventPattern('plain')
    onPlain(@Payload() _: unknown) {}

    @NotDurable()
    @EventPattern('other')
    onOther(@Payload() _: unknown) {}
  }

  const start = (durable: Partial<DurableModuleOptions> = {}) =>
    world.start({ controllers: [Handlers], durable });
  const warnings = () => world.log.matching('keeps records');

  it('are named with both times and the remedy, after each start', async () => {
    const app = await start();
    await eventually(() => warnings().length === 2);
    expect(warnings().sort()).toEqual([
      expect.stringMatching(
        /^warn Topic "endless" keeps records for ever, .* for 7 days only .* Set "retention" to Infinity, or retention.ms of the topic to 604800000 at most/,
      ),
      expect.stringMatching(/^warn Topic "long" keeps records for 30 days, .* Set "retention" to 2592000000/),
    ]);
    await app.close();
    await start({ retention: 30 * DAY });
    await eventually(() => warnings().length === 3);
    expect(warnings()[2]).toContain('Topic "endless"');
  });

  it('are none where keys are remembered for ever, nor in an application without durable handlers', async () => {
    await start({ retention: Infinity });
    await world.start({
      controllers: [Handlers],
      durable: false,
      server: { consumer: { groupId: 'plain' } },
    });
    // Servers that started earlier would have looked earlier.
    await world.start({
      controllers: [Handlers],
      server: { consumer: { groupId: 'last' } },
      durable: { retention: 29 * DAY },
    });
    await eventually(() => warnings().length > 0);
    expect(warnings().filter((line) => !line.includes('for 29 days only'))).toEqual([]);
  });
});
