import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BUGS } from '../support/broken-build.js';

const PROGRAM = fileURLToPath(new URL('../dist/test/simulate/main.js', import.meta.url));
const SEEDS = 1_000;
/** Milliseconds; a machine that does nothing else takes a tenth. */
const TIMEOUT = 900_000;

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

function simulate(...options: string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

function summary(output: string): { seeds: number; failed: { violations: { invariant: string }[] } | null } {
  return JSON.parse(output.trimEnd().split('\n').at(-1)!) as ReturnType<typeof summary>;
}

describe('npm run simulate', () => {
  it(
    `holds all invariants in ${SEEDS} seeds`,
    async () => {
      const { code, output } = await simulate('--seeds', String(SEEDS), '--json');
      expect({ code, output: code === 0 ? '' : output }).toEqual({ code: 0, output: '' });
      expect(summary(output)).toMatchObject({ seeds: SEEDS, failed: null });
    },
    TIMEOUT,
  );

  it.each(['3', '16', '27'])(
    'tells the same of seed %s each time, byte for byte',
    async (seed) => {
      const [one, again] = await Promise.all([simulate('--seed', seed), simulate('--seed', seed)]);
      expect(one.output.split('\n').length).toBeGreaterThan(50);
      expect(again).toEqual(one);
    },
    TIMEOUT,
  );

  it.each(BUGS)(
    `finds the bug "%s" within ${SEEDS} seeds`,
    async (bug) => {
      const { code, output } = await simulate('--seeds', String(SEEDS), '--bug', bug, '--json');
      expect(code).toBe(1);
      expect(summary(output).failed!.violations.length).toBeGreaterThan(0);
    },
    TIMEOUT,
  );

  it('refuses options that it does not know', async () => {
    expect(await simulate('--bug', 'no-such-bug')).toMatchObject({ code: 2 });
    expect(await simulate('--seeds', 'many')).toMatchObject({ code: 2 });
    expect(await simulate('--seed-count', '3')).toMatchObject({ code: 2 });
  });
});
