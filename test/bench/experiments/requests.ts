import { orderOf } from '../bed.js';
import { effectFlaws, type Experiment } from '../experiment.js';
import { startSubject } from '../subject-definitions.js';
import { SubjectProcess } from '../subject-process.js';
import type { RequesterResult, RequesterSettings } from '../subjects/requester.js';
import type { Work } from '../subjects/settings.js';
import { loads } from '../targets.js';

const VALUE_BYTES = 1_000;

/** A service and a client, each in a process; both of the same make. */
function requests(id: string, work: Work): Experiment {
  return {
    id,
    variants: ['nest', 'ours', 'nestBest'],
    async run(bed, variant, { seconds }) {
      const place = await bed.place(12, true);
      const service = startSubject(bed, place, variant, { work });
      const settings: RequesterSettings = {
        client: variant === 'ours' ? 'ours' : 'built-in',
        brokers: bed.brokers,
        topic: place.topic,
        groupId: `${place.groupId}-client`,
        loads,
        warmUpSeconds: Math.min(1, seconds / 2),
        seconds: Math.max(0.5, seconds * 0.8),
        order: orderOf(0, VALUE_BYTES),
      };
      let requester: SubjectProcess | undefined;
      try {
        await service.ready();
        requester = new SubjectProcess(bed, 'requester', settings);
        const result = await requester.result<RequesterResult>(180_000);
        const flaws = result.wrong > 0 ? [`${result.wrong} replies to other requests`] : [];
        if (work === 'echo-insert') flaws.push(...effectFlaws(await bed.count(place), result.sent));
        return { metrics: metricsOf(result), flaws };
      } finally {
        await requester?.stop();
        await service.stop();
        await bed.leave(place);
      }
    },
  };
}

function metricsOf({ loads: results }: RequesterResult): Record<string, number> {
  return Object.fromEntries(
    results.flatMap(({ load, p50, p99, perSecond }) => [
      [`p50.${load}`, p50],
      [`p99.${load}`, p99],
      [`perSecond.${load}`, perSecond],
    ]),
  );
}

/** Not durable: the handler returns what it got. */
export const echo = requests('request', 'echo');

/** One insert; ours is durable and stores the reply, the built-in transport is neither. */
export const echoInsert = requests('request.durable', 'echo-insert');
