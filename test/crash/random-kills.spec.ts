import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { CrashWorld, Event } from './support/crash-world.js';
import { violations } from './support/invariants.js';
import { seeded } from './support/random.js';
import type { ServiceProcess } from './support/service-process.js';
import { Setting } from './support/setting.js';

const seed = Number(process.env['CRASH_SEED'] ?? 20_260_101);
const events = 3_000;
const requests = 100;
const partitions = 6;
/** A dead member holds up its group for a session timeout: kills that follow each other faster let nothing happen. */
const kills = 5;

describe(`Two services killed at random (CRASH_SEED=${seed})`, () => {
  let setting: Setting;
  let world: CrashWorld;

  beforeAll(async () => {
    setting = await Setting.open();
    world = await setting.world({ partitions });
  });

  afterAll(() => setting.close());

  it('handle each of a stream of records once and in order', async () => {
    const random = seeded(seed);
    const start = (instance: string) => world.start(instance, { handlerMillis: 4, maxRecords: 16 });
    const running = await Promise.all([start('a').ready(), start('b').ready()]);

    const streamed = stream(world, random);
    for (let kill = 0; kill < kills; kill++) {
      await sleep(1_000 + random() * 6_000);
      // Sometimes all that there is.
      const victims = random() < 0.2 ? [0, 1] : [Math.floor(random() * 2)];
      await Promise.all(victims.map((index) => running[index]!.kill()));
      for (const index of victims) running[index] = start(`${'ab'[index]}${kill}`);
    }
    const answers = await streamed;
    await world.settled();

    expect(await violations(world, 'settled')).toEqual([]);
    expect(await world.count()).toBe(events + requests);
    expect(answers.map((values) => values.length)).toEqual(answers.map(() => 1));
    expect(running.map((service: ServiceProcess) => service.running)).toEqual([true, true]);
  });
});

/** Some 20 seconds of records, a tenth of them produced twice, to another partition the second time. */
async function stream(world: CrashWorld, random: () => number): Promise<unknown[][]> {
  const answers: Promise<unknown[]>[] = [];
  const step = events / requests;
  for (let from = 0; from < events; from += step) {
    const batch = Array.from({ length: step }, (_, n): Event[] => {
      const id = `event-${from + n}`;
      const partition = Math.floor(random() * partitions);
      if (random() >= 0.1) return [{ id, partition }];
      const twin = { id, idempotencyKey: id };
      return [
        { ...twin, partition },
        { ...twin, partition: (partition + 1) % partitions },
      ];
    });
    await world.publish(batch.flat());
    answers.push(world.request({ id: `request-${from}` }));
    await sleep(200);
  }
  return Promise.all(answers);
}
