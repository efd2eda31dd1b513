import type { Experiment } from '../experiment.js';
import { effectFlaws } from '../experiment.js';
import { startSubject } from '../subject-definitions.js';
import { until } from '../waiting.js';

const PARTITIONS = 12;
const runMs = 60_000;

/** Records wait; a service starts, as it does at each deployment: tables and group are there from the last time. */
export const startup: Experiment = {
  id: 'startup',
  variants: ['nest', 'ours', 'dbos'],
  mostRepeats: 2,
  async run(bed, variant) {
    const place = await bed.place(PARTITIONS);
    try {
      const start = async (first: number) => {
        await bed.fill(place, PARTITIONS, { first, partitions: PARTITIONS });
        const subject = startSubject(bed, place, variant, { work: 'insert', marks: [1, PARTITIONS] });
        try {
          const { at } = await subject.mark('warm', runMs);
          await until(
            'all effects',
            async () => (await bed.count(place)).distinct >= first + PARTITIONS - 1,
            runMs,
          );
          return at - subject.startedAt;
        } finally {
          await subject.stop();
        }
      };
      await start(1);
      const millis = await start(1 + PARTITIONS);
      return { metrics: { millis }, flaws: effectFlaws(await bed.count(place), 2 * PARTITIONS) };
    } finally {
      await bed.leave(place);
    }
  },
};
