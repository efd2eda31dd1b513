import type { Experiment } from '../experiment.js';
import { sizeFor, startSubject } from '../subject-definitions.js';

const runMs = 120_000;

/** Handlers that do nothing: the way from the broker to the handler, without a database. */
export const dispatch: Experiment = {
  id: 'dispatch',
  variants: ['nest', 'ours', 'nestBest', 'ceiling'],
  async run(bed, variant, { seconds }) {
    const place = await bed.place();
    const { records, warm } = sizeFor(variant, Math.min(seconds, 5), 'empty');
    await bed.fill(place, records);
    const subject = startSubject(bed, place, variant, { work: 'empty', marks: [warm, records] });
    try {
      const first = await subject.mark('warm', runMs);
      const last = await subject.mark('end', runMs);
      const measured = records - warm;
      return {
        metrics: {
          perSecond: measured / ((last.at - first.at) / 1_000),
          cpuMicros: (last.cpu - first.cpu) / measured,
        },
        flaws: [],
      };
    } finally {
      await subject.stop();
      await bed.leave(place);
    }
  },
};
