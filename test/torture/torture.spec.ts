import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Scenarios } from '../crash/support/scenarios.js';
import { type Bug, createBrokenBuild } from '../support/broken-build.js';
import { Program } from '../support/program.js';
import type { InvariantName, Violation } from './oracle/facts.js';

interface Verdict {
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
  'no-fence': { args: '--messages 1500 --duration 14 --faults sigstop', found: ['I2', 'I4', 'I6'] },
  'key-without-handler': { args: '--messages 300 --duration 5 --faults none', found: ['I2'] },
  'no-outbox-resume': {
    args: '--messages 800 --duration 6 --faults kill-at-after-commit',
    found: ['I7'],
  },
  'reply-before-commit': { args: '--messages 500 --duration 5 --faults none --failing 30', found: ['I5'] },
};

const healthy =
  '--messages 800 --duration 20 --faults sigkill,sigterm,sigstop,kill-at-after-commit,pg-cut-commit,broker-cut,rewind,duplicate-keys,poison,topic-recreate,add-partitions';

const LIMIT = 240_000;
// Runs wait for session timeouts, and for one another.
jest.setTimeout(600_000);

describe('npm run torture', () => {
  const scenarios = new Scenarios<Bug | 'healthy'>();
  const verdicts = new Map<string, Verdict>();

  beforeAll(() => {
    scenarios.start('healthy', async () => {
      verdicts.set('healthy', await torture(healthy));
    });
    // One after the other beside the healthy one: more would only slow each other down.
    let last: Promise<unknown> = Promise.resolve();
    for (const bug of Object.keys(bugs) as Bug[]) {
      const run = last.then(async () => {
        const build = await createBrokenBuild(bug);
        try {
          verdicts.set(bug, await torture(`${bugs[bug].args} --library ${build.folder}/dist`));
        } finally {
          await build.remove();
        }
      });
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
    const { code, invariants, output } = verdicts.get(bug)!;
    expect(code).toBe(1);
    const found = bugs[bug].found.filter((name) => invariants[name] === 'violated');
    expect(found.length).toBeGreaterThan(0);
    expect(output).toContain(`VIOLATION of ${found[0]}, seed 5: `);
  });

  it('says what is wrong with its options', async () => {
    const program = start(['--faults', 'meteor']);
    await program.end(20_000);
    expect(program.code).toBe(2);
    expect(program.output).toContain('there is no fault "meteor"');
  });
});

async function torture(args: string): Promise<Verdict> {
  const program = start([
    '--seed',
    '5',
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
