import type { Experiment } from '../experiment.js';
import { throughput } from './throughput.js';

const RATE = 8_000;

/** The same load without failures and with one record in a hundred that is given up at its first failure. */
export const failing: Experiment = {
  id: 'failing',
  variants: ['ours'],
  async run(bed, _variant, { seconds }) {
    const records = RATE * seconds * 2;
    const none = await throughput(bed, { records });
    const some = await throughput(bed, { records, failEvery: 100 });
    const perSecond = some.metrics['perSecond']!;
    return {
      metrics: { perSecond, share: perSecond / none.metrics['perSecond']! },
      flaws: [...none.flaws, ...some.flaws],
    };
  },
};
