import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { CrashWorld, Event } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { seeded } from './support/random.js';
import { Setting } from './support/setting.js';

const seed = Number(process.env['CRASH_SEED'] ?? 20_260_102);
const events = 2_000;
const requests = 50;
const partitions = 4;
/** Few, so that each has records in most groups. */
const keys = 15;
const kills = 4;

describe(`Services ordered by key, whose groups run concurrently, killed at random (CRASH_SEED=${seed})`, () => {
  let setting: Setting;
  let world: CrashWorld;

  beforeAll(async () => {
    setting = await Setting.open();
    world = await setting.world({ partitions, ordering: 'key' });
  });

  afterAll(() => setting.close());

  it('handle each record once and each key in its order, also while members come and go', async () => {
    const random = seeded(seed);
    const start = (instance: string) => world.start(instance, { handlerMillis: 4, maxRecords: 32 });
    const running = await Promise.all([start('a').ready(), start('b').ready()]);
    const streamed = stream(world, random);
    for (let kill = 0; kill < kills; kill++) {
      await sleep(1_000 + random() * 4_000);
      const victim = Math.floor(random() * 2);
      await running[victim]!.kill();
      running[victim] = start(`${'ab'[victim]}${kill}`);
      // One that joins, and leaves again in order: rebalances in which nobody dies.
      const guest = await start(`guest${kill}`).ready();
      await sleep(random() * 2_000);
      await guest.stop();
    }
    const answers = await streamed;
    await world.settled();

    expect(await violations(world, 'settled')).toEqual([]);
    expect(await world.count()).toBe(events + requests);
    expect(answers.map((values) => values.length)).toEqual(answers.map(() => 1));
    expect(running.map((service) => service.running)).toEqual([true, true]);
    // More than one key had been in work at once, or this would prove little.
    const [orders] = await world.query<{ n: number }>(
      `select count(*)::int as n from (
         select record_offset < lag(record_offset) over (partition by topic, partition order by seq) as back
         from {effects}.effect) steps where back`,
    );
    expect(orders!.n).toBeGreaterThan(100);
  });
});

/** Some 20 seconds of records, a tenth of them produced twice, in the same partition, as a key's are. */
async function stream(world: CrashWorld, random: () => number): Promise<unknown[][]> {
  const answers: Promise<unknown[]>[] = [];
  const step = events / requests;
  for (let from = 0; from < events; from += step) {
    const batch = Array.from({ length: step }, (_, n): Event[] => {
      const id = `event-${from + n}`;
      const number = Math.floor(random() * keys);
      const event = { id, key: `key-${number}`, partition: number % partitions };
      if (random() >= 0.1) return [event];
      const twin = { ...event, idempotencyKey: id };
      return [twin, twin];
    });
    await world.publish(batch.flat());
    answers.push(world.request({ id: `request-${from}` }));
    await sleep(400);
  }
  return Promise.all(answers);
}
