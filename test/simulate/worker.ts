/** Program of a worker thread: runs seeds, or explains one. */
import 'reflect-metadata';
import { parentPort, workerData } from 'node:worker_threads';
import type { Violation } from './invariants.js';
import { leaveOutWebSockets } from './nest-packages.js';
import { planOf, type Plan } from './plan.js';
import { shrink } from './shrink.js';
import { run } from './world.js';

export type WorkerTask =
  /** Runs `from`, `from + stride`, … below `to`, until one fails. */
  | { readonly kind: 'search'; readonly from: number; readonly to: number; readonly stride: number }
  /** Runs one, and leaves out of it what is not needed for it to fail. */
  | { readonly kind: 'explain'; readonly seed: number; readonly shrink: boolean };

export type WorkerMessage =
  | { readonly kind: 'progress'; readonly seeds: number; readonly steps: number }
  | { readonly kind: 'failed'; readonly seed: number; readonly violations: readonly Violation[] }
  | {
      readonly kind: 'explained';
      readonly plan: Plan;
      readonly violations: readonly Violation[];
      readonly trace: readonly string[];
      readonly runs: number;
    };

const BATCH = 20;

const post = (message: WorkerMessage) => parentPort!.postMessage(message);
const task = workerData as WorkerTask;
// Errors are thrown by the thousand, and nobody reads where from.
Error.stackTraceLimit = 0;
leaveOutWebSockets();
if (task.kind === 'search') await search(task);
else await explain(task);

async function search({ from, to, stride }: Extract<WorkerTask, { kind: 'search' }>): Promise<void> {
  let seeds = 0;
  let steps = 0;
  for (let seed = from; seed < to; seed += stride) {
    const outcome = await run(planOf(seed));
    seeds++;
    steps += outcome.steps;
    const hasFailed = outcome.violations.length > 0;
    if (seeds === BATCH || hasFailed) {
      post({ kind: 'progress', seeds, steps });
      seeds = steps = 0;
    }
    if (hasFailed) return post({ kind: 'failed', seed, violations: outcome.violations });
  }
  post({ kind: 'progress', seeds, steps });
}

async function explain({
  seed,
  shrink: isToShrink,
}: Extract<WorkerTask, { kind: 'explain' }>): Promise<void> {
  const plan = planOf(seed);
  const outcome = await run(plan);
  const found =
    isToShrink && outcome.violations.length > 0 ? await shrink(plan, outcome) : { plan, outcome, runs: 1 };
  const { violations, trace } = found.outcome;
  post({ kind: 'explained', plan: found.plan, violations, trace, runs: found.runs });
}
