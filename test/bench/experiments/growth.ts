import type { Bed } from '../bed.js';
import type { Experiment, Scale } from '../experiment.js';
import { type Load, throughput } from './throughput.js';

const RATE = 12_000;
/** Of the two whose ratio is a target: single runs of one ledger differ by more than what is asked of the other. */
const ROUNDS = 3;

/** What becomes of our throughput when one thing grows: partitions, instances, values, the ledger. */
export const growth: Experiment = {
  id: 'growth',
  variants: ['ours'],
  mostRepeats: 1,
  async run(bed, _variant, scale) {
    const metrics: Record<string, number> = {};
    const flaws: string[] = [];
    const records = RATE * scale.seconds * 2;
    for (const [name, load] of loadsOf(bed, scale, records)) {
      const result = await throughput(bed, load);
      metrics[name] = result.metrics['perSecond']!;
      flaws.push(...result.flaws.map((flaw) => `${name}: ${flaw}`));
    }
    return {
      metrics: {
        ...metrics,
        ledgerShare: metrics['fullLedger']! / metrics['emptyLedger']!,
        twoInstances: metrics['instances.2']! / metrics['instances.1']!,
      },
      flaws,
    };
  },
};

function loadsOf(bed: Bed, { ledgerRows }: Scale, records: number): [string, Load][] {
  const some = (share: number) => Math.round(records * share);
  return [
    ['emptyLedger', { records, rounds: ROUNDS, prepare: (schema) => fillLedger(bed, schema, 0) }],
    ['fullLedger', { records, rounds: ROUNDS, prepare: (schema) => fillLedger(bed, schema, ledgerRows) }],
    ['instances.1', { records }],
    ['instances.2', { records, instances: 2 }],
    ['instances.4', { records, instances: 4 }],
    ['partitions.1', { records: some(0.5), partitions: 1 }],
    ['partitions.4', { records, partitions: 4 }],
    ['partitions.12', { records }],
    ['value.100', { records, valueBytes: 100 }],
    ['value.10k', { records: some(0.2), valueBytes: 10_000 }],
    ['value.1M', { records: some(0.002), valueBytes: 1_000_000 }],
  ];
}

/** Executions of the last days, as message ids leave them: time-ordered keys, the newest just before now. */
async function fillLedger(bed: Bed, schema: string, rows: number): Promise<void> {
  const step = 1_000_000;
  for (let from = 0; from < rows; from += step) {
    await bed.pool.query(
      `insert into ${schema}.execution
         (fingerprint, record_offset, finished_at, scope_id, partition, state, topic_id, key)
       select hashint8extended(n, 0), n, finished_at, scope_id, n % 12, 1, topic_id,
              '\\x4d'::bytea || substring(int8send((extract(epoch from finished_at) * 1000)::bigint) from 3)
                || substring(sha256(int8send(n)) from 1 for 10)
         from generate_series($1::bigint, $2::bigint) as n,
              lateral (select now() - ($3 - n) * interval '1 millisecond' * 30 as finished_at) as moment,
              (select scope_id, topic_id from ${schema}.fence limit 1) as lane`,
      [from, Math.min(from + step, rows) - 1, rows],
    );
  }
  await bed.pool.query(`vacuum analyze ${schema}.execution`);
  // The question is what many rows cost, and not what it costs to have just written gigabytes of them.
  await bed.checkpoint();
}
