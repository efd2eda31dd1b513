/** Program: `npm run simulate`. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker, type ResourceLimits } from 'node:worker_threads';
import { createBrokenBuild } from '../support/broken-build.js';
import type { Violation } from './invariants.js';
import { readOptions, USAGE, type Options } from './options.js';
import { explained } from './report.js';
import type { WorkerMessage, WorkerTask } from './worker.js';

interface Failure {
  readonly seed: number;
  readonly violations: readonly Violation[];
}

interface Summary {
  seeds: number;
  steps: number;
  failure: Failure | undefined;
}

/**
 * Each seed has several applications, which are garbage at its end. In a young generation of the usual size most of them
 * live long enough to be copied twice, and to be collected with the old one.
 */
const LIMITS: ResourceLimits = { maxYoungGenerationSizeMb: 256 };

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let options: Options | 'help';
  try {
    options = readOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (options === 'help') {
    console.log(USAGE);
    return 0;
  }
  const broken = options.bug && (await createBrokenBuild(options.bug));
  const program = broken
    ? pathToFileURL(join(broken.folder, 'test', 'simulate', 'worker.js'))
    : new URL('./worker.js', import.meta.url);
  try {
    return options.seed === undefined ? await search(program, options) : await tell(program, options.seed);
  } finally {
    await broken?.remove();
  }
}

/** One seed in full. */
async function tell(program: URL, seed: number): Promise<number> {
  const violations = await explain(program, seed, false);
  console.log(violations.length > 0 ? `Seed ${seed} fails.` : `Seed ${seed} holds.`);
  return violations.length > 0 ? 1 : 0;
}

async function search(program: URL, options: Options): Promise<number> {
  const began = performance.now();
  const summary: Summary = { seeds: 0, steps: 0, failure: undefined };
  const stopping = new AbortController();
  const { from, seeds, workers } = options;
  await Promise.all(
    Array.from({ length: Math.min(workers, seeds) }, (_, index) =>
      perform(
        program,
        { kind: 'search', from: from + index, to: from + seeds, stride: workers },
        (message) => {
          if (message.kind === 'progress') {
            summary.seeds += message.seeds;
            summary.steps += message.steps;
            showProgress(summary.seeds, seeds);
          } else if (message.kind === 'failed') {
            summary.failure ??= message;
            stopping.abort();
          }
        },
        stopping.signal,
      ),
    ),
  );
  const seconds = (performance.now() - began) / 1000;
  const { failure } = summary;
  if (failure) {
    console.log(`Seed ${failure.seed} fails. What is needed for that:\n`);
    await explain(program, failure.seed, true);
    const bug = options.bug ? ` --bug ${options.bug}` : '';
    console.log(`\nAll of it: npm run simulate -- --seed ${failure.seed}${bug}`);
  }
  const per = (summary.seeds / seconds).toFixed(1);
  console.log(
    `${summary.seeds} seeds from ${from} in ${seconds.toFixed(1)} s (${per}/s), ${summary.steps} steps: ` +
      (failure ? `seed ${failure.seed} fails` : 'all invariants hold'),
  );
  if (options.json) {
    const { seeds: done, steps } = summary;
    console.log(
      JSON.stringify({
        seeds: done,
        from,
        bug: options.bug ?? null,
        failed: failure ?? null,
        steps,
        seconds: Number(seconds.toFixed(1)),
      }),
    );
  }
  return failure ? 1 : 0;
}

/** For people who wait, on one line that goes away. */
function showProgress(done: number, of: number): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(done < of ? `\r${done} of ${of} seeds` : '\r\x1b[K');
}

/** Prints a run; resolves with what it violates. */
async function explain(program: URL, seed: number, shrink: boolean): Promise<readonly Violation[]> {
  let found: readonly Violation[] = [];
  await perform(program, { kind: 'explain', seed, shrink }, (message) => {
    if (message.kind !== 'explained') return;
    found = message.violations;
    console.log(explained(message.plan, message.violations, message.trace));
  });
  return found;
}

/** Has a thread do a task. Resolves when it has ended, or was stopped. */
function perform(
  program: URL,
  task: WorkerTask,
  onMessage: (message: WorkerMessage) => void,
  stopping?: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(program, { workerData: task, resourceLimits: LIMITS });
    const stop = () => void worker.terminate();
    stopping?.addEventListener('abort', stop, { once: true });
    worker.on('message', onMessage);
    worker.on('error', reject);
    worker.on('exit', (code) => {
      if (code === 0 || stopping?.aborted) resolve();
      else reject(new Error(`A worker ended with ${code}`));
    });
  });
}
