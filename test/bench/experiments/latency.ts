import { setTimeout as sleep } from 'node:timers/promises';
import type { Experiment } from '../experiment.js';
import { effectFlaws } from '../experiment.js';
import { percentile } from '../statistics.js';
import { startSubject } from '../subject-definitions.js';
import { within } from '../waiting.js';

const PARTITIONS = 12;
const effectMs = 60_000;

/**
 * One event at a time, with a pause after each, from its produce to its committed effect. Postgres itself tells of the
 * effect: a notification is sent when the transaction that caused it has committed, whoever's it is.
 */
export const latency: Experiment = {
  id: 'latency',
  variants: ['nest', 'ours', 'dbos'],
  mostRepeats: 2,
  async run(bed, variant, { quick }) {
    const place = await bed.place(PARTITIONS);
    const effects = await bed.effectsAsTheyCommit(place);
    const subject = startSubject(bed, place, variant, { work: 'insert' });
    try {
      await subject.ready();
      const warmUp = quick ? 5 : 20;
      const events = warmUp + (quick ? 10 : variant === 'dbos' ? 20 : 200);
      const latencies: number[] = [];
      for (let id = 1; id <= events; id++) {
        const committed = effects.of(id);
        const start = performance.now();
        await bed.producer.send({ topic: place.topic, messages: [bed.message(id, PARTITIONS)] });
        const end = await within(effectMs, 'the effect of a lone event', committed);
        if (id > warmUp) latencies.push(end - start);
        await sleep(20 + ((id * 37) % 60)); // not in step with anybody's timer
      }
      return {
        metrics: { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) },
        flaws: effectFlaws(await bed.count(place), events),
      };
    } finally {
      await subject.stop();
      await effects.close();
      await bed.leave(place);
    }
  },
};
