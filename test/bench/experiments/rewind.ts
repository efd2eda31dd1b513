import type { Experiment } from '../experiment.js';
import { effectFlaws } from '../experiment.js';
import { startSubject } from '../subject-definitions.js';
import { until } from '../waiting.js';

const RECORDS_PER_SECOND = 30_000;
const firstMs = 600_000;
const againMs = 120_000;

/** Everything is handled, the group is set back to the beginning, and everything comes again: nothing may happen twice. */
export const rewind: Experiment = {
  id: 'rewind',
  variants: ['ours'],
  async run(bed, variant, { seconds }) {
    const place = await bed.place();
    const records = RECORDS_PER_SECOND * seconds;
    await bed.fill(place, records);
    try {
      const first = startSubject(bed, place, variant, { work: 'insert', marks: [1, records] });
      try {
        await first.mark('end', firstMs);
        await until('all effects', async () => (await bed.count(place)).distinct >= records, firstMs, 250);
      } finally {
        await first.stop();
      }
      await bed.rewind(place);
      const again = startSubject(bed, place, variant, {
        work: 'insert',
        marks: [records / 5, records],
        options: { suppressed: true },
      });
      try {
        const warm = await again.mark('warm', againMs);
        const end = await again.mark('end', againMs);
        const measured = records * 0.8;
        return {
          metrics: {
            perSecond: measured / ((end.at - warm.at) / 1_000),
            cpuMicros: (end.cpu - warm.cpu) / measured,
          },
          flaws: effectFlaws(await bed.count(place), records),
        };
      } finally {
        await again.stop();
      }
    } finally {
      await bed.leave(place);
    }
  },
};
