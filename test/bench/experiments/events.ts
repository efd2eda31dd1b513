import type { Bed, Place } from '../bed.js';
import { countedBetween } from '../cost-figures.js';
import { effectFlaws, type Experiment, type RunResult, type Scale } from '../experiment.js';
import { sizeFor, startSubject } from '../subject-definitions.js';
import type { Variant } from '../targets.js';
import { until } from '../waiting.js';

const runMs = 300_000;
const settleMs = 60_000;
const MEGABYTE = 1024 * 1024;

/** A topic that is full when the service starts, and one insert per record. */
export const events: Experiment = {
  id: 'events',
  variants: [
    'nest',
    'ours',
    'nestBest',
    'oursKey',
    'inbox',
    'ceiling',
    'inboxBest',
    'ceilingPipelined',
    'dbos',
    'dbosOrdered',
  ],
  async run(bed, variant, scale) {
    const place = await bed.place();
    try {
      return await measureInserts(bed, place, variant, scale);
    } finally {
      await bed.leave(place);
    }
  },
};

async function measureInserts(bed: Bed, place: Place, variant: Variant, scale: Scale): Promise<RunResult> {
  const { records, warm } = sizeFor(variant, scale.seconds);
  await bed.fill(place, records);
  const before = await bed.commits();
  const subject = startSubject(bed, place, variant, { work: 'insert', marks: [warm, records] });
  try {
    const first = await subject.mark('warm', runMs);
    const firstWal = await bed.wal();
    const last = await subject.mark('end', runMs);
    await until('all effects', async () => (await bed.count(place)).distinct >= records, settleMs, 250);
    const lastWal = await bed.wal();
    await subject.stop();
    const commits = countedBetween(before, await bed.commits());
    const { seconds, effects } = await bed.span(place, warm);
    const measured = records - warm;
    return {
      metrics: {
        perSecond: effects / seconds,
        cpuMicros: (last.cpu - first.cpu) / measured,
        residentMb: last.rss / MEGABYTE,
        statements: (last.statements - first.statements) / measured,
        ...(commits !== undefined && { commits: commits / records }),
        walBytes: Number(lastWal - firstWal) / measured,
      },
      flaws: effectFlaws(await bed.count(place), records),
    };
  } finally {
    await subject.kill();
  }
}
