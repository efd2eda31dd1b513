import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Scenarios } from '../crash/support/scenarios.js';
import {
  type BrokenBuild,
  type Bug,
  createBrokenBuild,
  createPatchedBuild,
} from '../support/broken-build.js';
import { Program } from '../support/program.js';
import type { InvariantName, Violation } from './oracle/facts.js';

interface Verdict {
  readonly seed: number;
  readonly code: number | null | undefined;
  readonly invariants: Readonly<Record<InvariantName, 'ok' | 'violated'>>;
  readonly violations: readonly Violation[];
  readonly output: string;
}

/** A way to break the library → what shows it, and which of the invariants may say so: at least one of them. */
const bugs: Record<Bug, { readonly args: string; readonly found: readonly InvariantName[] }> = {
  'offset-before-commit': { args: '--messages 800 --duration 6 --faults sigkill', found: ['I2', 'I4'] },
  'dedupe-before-handler': {
    args: '--messages 800 --duration 6 --faults kill-at-in-handler',
    found: ['I1', 'I2'],
  },
  'no-fence': { args: '--messages 1500 --duration 8 --faults zombie', found: ['I1', 'I3', 'I6'] },
  'key-without-handler': { args: '--messages 300 --duration 5 --faults none', found: ['I2'] },
  'no-outbox-resume': {
    args: '--messages 800 --duration 6 --faults kill-at-after-commit',
    found: ['I7'],
  },
  'reply-before-commit': {
    args: '--messages 800 --duration 10 --faults kill-at-in-handler,pg-cut-commit --failing 30',
    found: ['I5'],
  },
};

/** Handlers of events never come back: in the first process they block its event loop, in others they wait. */
const hanging = {
  file: 'durable/durable-execution.js',
  text: "const run = this.run('emit');",
  by:
    `while (process.env.TORTURE_SETTINGS.includes('"instance-1"'))` +
    ' Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);' +
    ' await new Promise(() => undefined);',
};

const healthy =
  '--messages 800 --duration 20 --faults sigkill,sigterm,sigstop,kill-at-after-commit,pg-cut-commit,broker-cut,rewind,duplicate-keys,poison,topic-recreate,add-partitions';

const SEED = 5;
const LAST_SEED = 12;
const LIMIT = 240_000;
// Runs wait for session timeouts, and for one another.
jest.setTimeout(900_000);

describe('npm run torture', () => {
  const scenarios = new Scenarios<Bug | 'healthy' | 'stuck'>();
  const verdicts = new Map<string, Verdict>();

  beforeAll(() => {
    scenarios.start('healthy', async () => {
      verdicts.set('healthy', await torture(SEED, healthy));
    });
    // One after the other beside the healthy one: more would only slow each other down.
    let last: Promise<unknown> = Promise.resolve();
    for (const bug of Object.keys(bugs) as Bug[]) {
      const run = last.then(async () => void verdicts.set(bug, await hunt(bug)));
      last = run.catch(() => undefined);
      scenarios.start(bug, () => run);
    }
    const stuck = last.then(async () => void verdicts.set('stuck', await torturedWhileStuck()));
    scenarios.start('stuck', () => stuck);
  });

  afterAll(() => scenarios.ended());

  it('finds nothing wrong with this library, among faults of every kind', async () => {
    await scenarios.result('healthy');
    const { code, violations } = verdicts.get('healthy')!;
    expect(violations).toEqual([]);
    expect(code).toBe(0);
  });

  it.each(Object.keys(bugs) as Bug[])('finds %s', async (bug) => {
    await scenarios.result(bug);
    const verdict = verdicts.get(bug)!;
    expect(verdict.code).toBe(1);
    const [found] = foundIn(verdict, bug);
    expect(verdict.output).toContain(`VIOLATION of ${found}, seed ${verdict.seed}: `);
    // With the history of the messages concerned.
    expect(verdict.output).toMatch(/\nVIOLATION of .*\n {4}record {4}/);
  });

  it('dumps what is to be seen of a run that is stuck, and keeps it', async () => {
    await scenarios.result('stuck');
    const { code, violations, output } = verdicts.get('stuck')!;
    expect(code).toBe(1);
    const [one, ...others] = violations.filter(({ invariant }) => invariant === 'I8');
    expect(others).toEqual([]);
    expect(one!.what).toMatch(/^stuck with a lag of \d+$/);
    for (const seen of [
      /partitions with a lag:\n {2}\S+\.events\[\d] holds 0 to \d+, committed 0, assigned to (instance-\d|nobody)\n/,
      /runs under way, the oldest first:\n {2}instance-\d for [\d.]+ s: torture\.event, attempt 1 of /,
      /fences:\n {2}\S+\.events\[\d] torture\.event: next offset 0, epoch \d+, taken \S+ by \S+ \(instance-\d runs\)/,
      /\n {2}pid=\d+ state=idle in transaction .* last_query=insert into effect/,
      /\ninstance-1 runs, process \d+\n {2}it does not answer: .*\n {4}at emit \(file:.*durable-execution\.js:\d+\)\n/,
      /\ninstance-2 runs, process \d+\n {2}counters \{/,
    ]) {
      expect(output).toMatch(seen);
    }
    const [, folder] = /Kept in (.*):\n/.exec(output)!;
    const report = await readFile(join(folder!, 'report.txt'), 'utf8');
    expect(report).toContain('\nSTUCK, seed ');
    expect(report).toContain('\nVIOLATION of I8');
    await rm(folder!, { recursive: true, force: true });
  });

  it('says what is wrong with its options', async () => {
    const program = start(['--faults', 'meteor']);
    await program.end(20_000);
    expect(program.code).toBe(2);
    expect(program.output).toContain('there is no fault "meteor"');
  });
});

/**
 * A seed decides what goes wrong and when, not what that meets: a service that is frozen between two groups does no harm
 * without a fence either. So a bug gets several.
 */
async function hunt(bug: Bug): Promise<Verdict> {
  return within(await createBrokenBuild(bug), async ({ folder }) => {
    for (let seed = SEED; ; seed++) {
      const verdict = await torture(seed, `${bugs[bug].args} --library ${folder}/dist`);
      if (foundIn(verdict, bug).length > 0 || seed === LAST_SEED) return verdict;
    }
  });
}

async function torturedWhileStuck(): Promise<Verdict> {
  return within(await createPatchedBuild('hanging', [hanging]), ({ folder }) =>
    torture(SEED, `--messages 100 --duration 5 --faults none --library ${folder}/dist`),
  );
}

async function within<Result>(
  build: BrokenBuild,
  work: (build: BrokenBuild) => Promise<Result>,
): Promise<Result> {
  try {
    return await work(build);
  } finally {
    await build.remove();
  }
}

function foundIn({ invariants }: Verdict, bug: Bug): InvariantName[] {
  return bugs[bug].found.filter((name) => invariants[name] === 'violated');
}

async function torture(seed: number, args: string): Promise<Verdict> {
  const program = start([
    '--seed',
    String(seed),
    '--instances',
    '2',
    '--patience',
    '20',
    '--json',
    ...args.split(' '),
  ]);
  await program.end(LIMIT);
  const line = program.standardOutput.split('\n').find((each) => each.startsWith('{"seed"'));
  if (line === undefined) throw new Error(`It came to no verdict:\n${program.output}`);
  return {
    code: program.code,
    output: program.output,
    ...(JSON.parse(line) as Omit<Verdict, 'code' | 'output'>),
  };
}

/** On the servers that the tests are given. */
function start(args: readonly string[]): Program {
  return new Program(
    new URL('../dist/test/torture/main.js', import.meta.url),
    {},
    ['--enable-source-maps'],
    args,
  );
}
