import type { Bed } from '../bed.js';
import { effectFlaws, type RunResult } from '../experiment.js';
import { startSubject } from '../subject-definitions.js';
import type { SubjectProcess } from '../subject-process.js';
import { until } from '../waiting.js';

const runMs = 600_000;
const PARTITIONS = 12;
const FIRST = 240;

export interface Load {
  readonly records: number;
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
  const { records, partitions = PARTITIONS, valueBytes = 300, instances = 1, failEvery = 0 } = load;
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
    await bed.fill(place, records, { first: FIRST + 1, partitions, valueBytes });
    const orders = FIRST + records;
    const expected = orders - failing(orders);
    await until('all effects', async () => (await bed.count(place)).distinct >= expected, runMs, 250);
    const { seconds, effects } = await bed.span(place, Math.floor(expected / 2));
    return {
      metrics: { perSecond: effects / seconds },
      flaws: effectFlaws(await bed.count(place), expected),
    };
  } finally {
    await Promise.all(subjects.map((subject) => subject.stop()));
    await bed.leave(place);
  }
}
