import type { Bed } from '../bed.js';
import { effectFlaws, type RunResult } from '../experiment.js';
import { median } from '../statistics.js';
import { startSubject } from '../subject-definitions.js';
import type { SubjectProcess } from '../subject-process.js';
import { until } from '../waiting.js';

const runMs = 600_000;
const PARTITIONS = 12;
const FIRST = 240;

export interface Load {
  /** Of each round. */
  readonly records: number;
  /** How often the load comes: the median is what counts. Default 1. */
  readonly rounds?: number;
  readonly partitions?: number;
  readonly valueBytes?: number;
  readonly instances?: number;
  /** That many records have one that fails for good. */
  readonly failEvery?: number;
  /** Called when the service has made its tables and handled its first records, and is stopped. */
  readonly prepare?: (schema: string) => Promise<void>;
}

/**
 * Records per second of our service under a load, all instances together: they share the partitions and have handled
 * something before the load comes. The first half is the warm-up, in which the load is still being produced.
 */
export async function throughput(bed: Bed, load: Load): Promise<RunResult> {
  const {
    records,
    rounds = 1,
    partitions = PARTITIONS,
    valueBytes = 300,
    instances = 1,
    failEvery = 0,
  } = load;
  const place = await bed.place(partitions);
  const subjects: SubjectProcess[] = [];
  const start = (instance: string) => {
    const subject = startSubject(bed, place, 'ours', { work: 'insert', instance, options: { failEvery } });
    subjects.push(subject);
    return subject.ready();
  };
  const failing = (orders: number) => (failEvery > 0 ? Math.floor(orders / failEvery) : 0);
  try {
    await bed.fill(place, FIRST, { partitions, valueBytes });
    await start('a');
    await until(
      'the first effects',
      async () => (await bed.count(place)).distinct >= FIRST - failing(FIRST),
      runMs,
    );
    if (load.prepare) {
      await subjects.pop()!.stop();
      await load.prepare(place.ownSchema);
      await start('a');
    }
    for (let more = 1; more < instances; more++) await start(String.fromCharCode(97 + more));
    const rates: number[] = [];
    let expected = FIRST - failing(FIRST);
    for (let orders = FIRST; rates.length < rounds; orders += records) {
      const before = expected;
      await bed.fill(place, records, { first: orders + 1, partitions, valueBytes });
      expected = orders + records - failing(orders + records);
      await until('all effects', async () => (await bed.count(place)).distinct >= expected, runMs, 250);
      const { seconds, effects } = await bed.span(place, Math.floor((before + expected) / 2));
      rates.push(effects / seconds);
    }
    return {
      metrics: { perSecond: median(rates) },
      flaws: effectFlaws(await bed.count(place), expected),
    };
  } finally {
    await Promise.all(subjects.map((subject) => subject.stop()));
    await bed.leave(place);
  }
}
