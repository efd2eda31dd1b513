import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Scenarios } from '../crash/support/scenarios.js';
import { type Bug, createBrokenBuild } from '../support/broken-build.js';
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

const healthy =
  '--messages 800 --duration 20 --faults sigkill,sigterm,sigstop,kill-at-after-commit,pg-cut-commit,broker-cut,rewind,duplicate-keys,poison,topic-recreate,add-partitions';

const SEED = 5;
const LAST_SEED = 12;
const LIMIT = 240_000;
// Runs wait for session timeouts, and for one another.
jest.setTimeout(900_000);

describe('npm run torture', () => {
  const scenarios = new Scenarios<Bug | 'healthy'>();
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
  const build = await createBrokenBuild(bug);
  try {
    for (let seed = SEED; ; seed++) {
      const verdict = await torture(seed, `${bugs[bug].args} --library ${build.folder}/dist`);
      if (foundIn(verdict, bug).length > 0 || seed === LAST_SEED) return verdict;
    }
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
