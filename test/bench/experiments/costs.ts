import type { Bed, Place } from '../bed.js';
import { costFigures, countedBetween } from '../cost-figures.js';
import { costLoads, costModes } from '../cost-rows.js';
import { effectFlaws, type Experiment, type RunResult, type Scale } from '../experiment.js';
import { sizeFor, startSubject } from '../subject-definitions.js';
import type { Variant } from '../targets.js';
import { until } from '../waiting.js';

const runMs = 300_000;
const settleMs = 60_000;
/** Groups are closed by their number and not by the time: on a busy machine they would be smaller. */
const groupMillis = 10_000;
/** Whose handlers write outside of our transactions: a commit for each record is theirs. */
const handlerCommits: ReadonlySet<Variant> = new Set(['oursClaim', 'oursStep']);

/** What a topic that is full when the service starts costs the database, per record: counted, not timed. */
export const costs: readonly Experiment[] = (['events', 'requests'] as const).map((load) => ({
  id: costLoads[load],
  variants: Object.values(costModes).map(([variant]) => variant),
  async run(bed, variant, scale) {
    const place = await bed.place(12, load === 'requests');
    try {
      return await count(bed, place, variant, scale, load === 'requests');
    } finally {
      await bed.leave(place);
    }
  },
}));

async function count(
  bed: Bed,
  place: Place,
  variant: Variant,
  scale: Scale,
  asRequests: boolean,
): Promise<RunResult> {
  const { records, warm } = sizeFor(variant, scale.seconds);
  await bed.fill(place, records, { asRequests });
  const before = await bed.commits();
  const work = asRequests ? 'echo-insert' : 'insert';
  const subject = startSubject(bed, place, variant, {
    work,
    marks: [warm, records],
    options: { count: 'ours', groupMillis },
  });
  try {
    const first = await subject.mark('warm', runMs);
    const from = await bed.cost();
    const last = await subject.mark('end', runMs);
    await until('all effects', async () => (await bed.count(place)).distinct >= records, settleMs, 250);
    const to = await bed.cost();
    await subject.stop();
    const after = await bed.commits();
    const effects = await bed.count(place);
    const metrics = costFigures({
      records,
      marked: records - warm,
      commits: countedBetween(before, after),
      handlerCommits: handlerCommits.has(variant) ? effects.effects : 0,
      own: { statements: last.statements - first.statements, trips: last.trips - first.trips },
      from,
      to,
      pageImages: await bed.pageImages(from.lsn, to.lsn),
    });
    return { metrics, flaws: effectFlaws(effects, records) };
  } finally {
    await subject.kill();
  }
}
