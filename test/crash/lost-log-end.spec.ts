import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { outOfRange } from '../../lib/consumption/consumer.messages.js';
import type { CrashWorld, Event } from './support/crash-world.js';
import { Setting, type BrokerWithLogs } from './support/setting.js';
import { PATIENCE, until } from './support/until.js';

// Brokers are stopped and started several times; a busy machine adds to that.
jest.setTimeout(600_000);

describe('A broker whose log lost its end: what comes at the offsets of lost records is handled, once', () => {
  let setting: Setting;
  let broker: BrokerWithLogs;

  beforeAll(async () => {
    setting = await Setting.open();
    broker = await setting.ownLogs();
  });

  afterAll(() => setting.close());

  it.each([
    { mode: 'transaction', ordering: 'partition' },
    { mode: 'transaction', ordering: 'key' },
    { mode: 'claim', ordering: 'partition' },
  ] as const)(
    'before the service starts, and while it runs ($mode mode, ordering $ordering)',
    async (how) => {
      const world = await setting.world({
        brokers: broker.brokers,
        partitions: 1,
        ordering: how.ordering,
        withoutCaller: true,
      });
      const log = new LogOf(world, broker);
      const start = () => world.start('service', how).ready();

      const first = await start();
      await world.publish(events('old', 10));
      await world.settled();
      await log.copy();
      await world.publish(events('lost', 8));
      await world.settled();
      await first.stop();
      await log.putBack();
      // More than were lost: no offset is out of range when the service looks.
      await world.publish(events('new', 20));
      const second = await start();
      await handled(world, ['old', 10], ['lost', 8], ['new', 20]);
      await world.settled();
      expect(second.loggedLines('ERROR').filter((line) => line.includes('are lost'))).toEqual([
        expect.stringContaining(outOfRange(`${world.topics.events}[0]`, 18n, 10n)),
      ]);
      expect(second.loggedLines('the broker has lost those from 10 on')).toHaveLength(1);

      await log.copy();
      await world.publish(events('lost-too', 8));
      await world.settled();
      await log.putBack();
      await world.publish(events('newer', 5));
      await handled(world, ['old', 10], ['lost', 8], ['new', 20], ['lost-too', 8], ['newer', 5]);
      await world.settled();
      expect(second.loggedLines(outOfRange(`${world.topics.events}[0]`, 38n, 30n))).toHaveLength(1);
      await second.stop();

      // Nothing of it is handled again, or lost, by who takes over.
      await start();
      await world.publish(events('last', 3));
      await handled(world, ['old', 10], ['lost', 8], ['new', 20], ['lost-too', 8], ['newer', 5], ['last', 3]);
    },
  );

  it('also where the offset of the group was set back before, and tells nothing', async () => {
    const world = await setting.world({
      brokers: broker.brokers,
      partitions: 1,
      ordering: 'partition',
      withoutCaller: true,
    });
    const log = new LogOf(world, broker);
    const first = await world.start('service', { mode: 'transaction', ordering: 'partition' }).ready();
    await world.publish(events('old', 10));
    await world.settled();
    await log.copy();
    await world.publish(events('lost', 8));
    await world.settled();
    await first.stop();
    await world.setBack(world.topics.events, 4n);
    await log.putBack();
    await world.publish(events('new', 20));

    const second = await world.start('service', { mode: 'transaction', ordering: 'partition' }).ready();
    await handled(world, ['old', 10], ['lost', 8], ['new', 20]);
    await world.settled();
    expect(second.loggedLines('the broker has lost those from 10 on')).toHaveLength(1);
    expect(second.loggedLines('are lost')).toEqual([]);
    await second.stop();

    // What is set back once more is not handled again.
    await world.setBack(world.topics.events, 0n);
    const third = await world.start('service', { mode: 'transaction', ordering: 'partition' }).ready();
    await world.publish(events('last', 3));
    await handled(world, ['old', 10], ['lost', 8], ['new', 20], ['last', 3]);
    expect(third.loggedLines('the broker has lost')).toEqual([]);
  });
});

/** Every other one without a key of its own; values repeat, so that content does not tell them apart. */
function events(name: string, count: number): Event[] {
  return Array.from({ length: count }, (_, n) => ({
    id: `${name}-${n}`,
    partition: 0,
    idempotencyKey: n % 2 === 0 ? null : `${name}-${n}`,
  }));
}

/** Each of these has had its effect, once, and nothing else had. */
async function handled(world: CrashWorld, ...expected: [name: string, count: number][]): Promise<void> {
  const ids = expected.flatMap(([name, count]) => events(name, count).map(({ id }) => id));
  await until(
    'the new records to be handled',
    async () => (await world.count()) >= ids.length,
    PATIENCE,
    async () => `${await world.count()} of ${ids.length}. ${world.services.at(-1)!.describe()}`,
  );
  const effects = await world.query<{ id: string }>('select id from {effects}.effect');
  expect(effects.map(({ id }) => id).sort()).toEqual(ids.sort());
}

/** The log of a world's events, on a broker that is stopped to get at it. */
class LogOf {
  private readonly folder: string;
  private readonly copied: string;

  constructor(
    world: CrashWorld,
    private readonly broker: BrokerWithLogs,
  ) {
    this.folder = join(broker.logs, `${world.topics.events}-0`);
    this.copied = join(broker.logs, '..', `${world.topics.events}-copy`);
  }

  async copy(): Promise<void> {
    await this.whileStopped(async () => {
      await rm(this.copied, { recursive: true, force: true });
      await cp(this.folder, this.copied, { recursive: true });
    });
  }

  async putBack(): Promise<void> {
    await this.whileStopped(async () => {
      await rm(this.folder, { recursive: true });
      await cp(this.copied, this.folder, { recursive: true });
    });
  }

  private async whileStopped(work: () => Promise<void>): Promise<void> {
    await this.broker.kafka.stop('fast');
    await work();
    await this.broker.kafka.start();
  }
}
