import type { Bed, Place } from '../bed.js';
import type { Experiment } from '../experiment.js';
import { effectFlaws } from '../experiment.js';
import { startSubject } from '../subject-definitions.js';
import { until } from '../waiting.js';
import { Trickle } from '../trickle.js';

const PARTITIONS = 12;
const shareMs = 60_000;
const failoverMs = 120_000;

/** Two instances share the partitions; one is killed in mid-work, without a chance to say goodbye. */
export const failover: Experiment = {
  id: 'failover',
  variants: ['nest', 'ours'],
  mostRepeats: 1,
  async run(bed, variant) {
    const place = await bed.place(PARTITIONS);
    const trickle = new Trickle(bed, place, PARTITIONS);
    const victim = startSubject(bed, place, variant, { work: 'insert', instance: 'victim' });
    const heir = startSubject(bed, place, variant, { work: 'insert', instance: 'heir' });
    try {
      await Promise.all([victim.ready(), heir.ready()]);
      await until(
        'both instances to have their share',
        async () =>
          (await lately(bed, place, 'victim')) === PARTITIONS / 2 &&
          (await lately(bed, place, 'heir')) === PARTITIONS / 2,
        shareMs,
      );
      await victim.kill();
      const killed = await bed.now();
      await until(
        'all partitions to move on',
        async () => (await since(bed, place, killed)).partitions === PARTITIONS,
        failoverMs,
      );
      const { seconds } = await since(bed, place, killed);
      const sent = await trickle.stop();
      await until('all effects', async () => (await bed.count(place)).distinct >= sent, failoverMs);
      const flaws = effectFlaws(await bed.count(place), sent);
      // At-least-once is all that the built-in transport promises when it is killed.
      return {
        metrics: { seconds },
        flaws: variant === 'ours' ? flaws : flaws.filter((flaw) => !flaw.includes('doubled')),
      };
    } finally {
      await trickle.stop();
      await victim.kill();
      await heir.stop();
      await bed.leave(place);
    }
  },
};

/** Partitions that an instance, and nobody else, has worked on in the last second. */
async function lately(bed: Bed, { schema }: Place, instance: string): Promise<number> {
  const { rows } = await bed.pool.query<{ n: number }>(
    `select count(*)::int as n from (
       select partition from ${schema}.effect where at > clock_timestamp() - interval '1 second'
       group by partition having min(instance) = $1 and max(instance) = $1
     ) as own`,
    [instance],
  );
  return rows[0]!.n;
}

/** Partitions with an effect of the heir since then, and the seconds until the last of them had its first. */
async function since(
  bed: Bed,
  { schema }: Place,
  moment: string,
): Promise<{ partitions: number; seconds: number }> {
  const { rows } = await bed.pool.query<{ partitions: number; seconds: number }>(
    `select count(*)::int as partitions, coalesce(max(extract(epoch from first - $1::timestamptz)), 0)::float8 as seconds
       from (
         select min(at) as first from ${schema}.effect
          where instance = 'heir' and at > $1::timestamptz group by partition
       ) as firsts`,
    [moment],
  );
  return rows[0]!;
}
