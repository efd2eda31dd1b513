import type { Bed } from './bed.js';
import type { Experiment, RunResult, Scale } from './experiment.js';
import { experiments } from './experiments.js';
import { type RowDefinition, type Variant, variantNames, variantsOf } from './targets.js';

/** What all runs of one variant in one experiment have shown. */
export interface Runs {
  readonly experiment: string;
  readonly variant: Variant;
  /** A metric's values, one for each run. */
  readonly metrics: ReadonlyMap<string, readonly number[]>;
  readonly flaws: readonly string[];
}

/**
 * Runs what the rows need: each experiment's variants in turn, and again from the beginning for each repeat, so that a
 * machine that gets slower meets all of them alike.
 */
export async function measure(
  bed: Bed,
  rows: readonly RowDefinition[],
  repeats: number,
  scale: Scale,
  log: (line: string) => void,
): Promise<Runs[]> {
  const all: Runs[] = [];
  for (const experiment of experiments) {
    const wanted = new Set(rows.filter((row) => row.experiment === experiment.id).flatMap(variantsOf));
    const variants = experiment.variants.filter((variant) => wanted.has(variant));
    if (variants.length > 0) all.push(...(await interleaved(bed, experiment, variants, repeats, scale, log)));
  }
  return all;
}

async function interleaved(
  bed: Bed,
  experiment: Experiment,
  variants: readonly Variant[],
  repeats: number,
  scale: Scale,
  log: (line: string) => void,
): Promise<Runs[]> {
  const runs = variants.map((variant) => ({
    experiment: experiment.id,
    variant,
    metrics: new Map<string, number[]>(),
    flaws: [] as string[],
  }));
  const times = Math.min(repeats, experiment.mostRepeats ?? repeats);
  for (let repeat = 1; repeat <= times; repeat++) {
    for (const { variant, metrics, flaws } of runs) {
      const result = await experiment.run(bed, variant, scale).catch(failed);
      for (const [metric, value] of Object.entries(result.metrics))
        metrics.set(metric, [...(metrics.get(metric) ?? []), value]);
      flaws.push(...result.flaws);
      const told = Object.entries(result.metrics).map(
        ([metric, value]) => `${metric} ${Number(value.toPrecision(4))}`,
      );
      const run = times > 1 ? ` (${repeat} of ${times})` : '';
      log(
        [`${experiment.id}${run}, ${variantNames[variant]}: ${told.join(', ')}`, ...result.flaws].join('; '),
      );
    }
  }
  return runs;
}

/** One that fails does not take the others' results along. */
function failed(error: unknown): RunResult {
  return {
    metrics: {},
    flaws: [`the run failed: ${error instanceof Error ? error.message : String(error)}`],
  };
}
