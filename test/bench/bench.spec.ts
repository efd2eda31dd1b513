import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Compiled by `npm run build`. */
const program = fileURLToPath(new URL('../dist/test/bench/main.js', import.meta.url));

function bench(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, NODE_OPTIONS: '' } });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
  });
}

describe('npm run bench', () => {
  it('measures the rows asked for and ends with one JSON line, our effects exact', async () => {
    const { code, out, err } = await bench('--quick', '--json', '--only', 'startup');
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining('startup, this library: millis') });
    const lines = out.trimEnd().split('\n');
    expect(lines).toHaveLength(1);
    const { rows } = JSON.parse(lines[0]!) as { rows: Record<string, unknown>[] };
    expect(rows).toEqual([
      expect.objectContaining({
        id: 'startup',
        unit: 'ms',
        ours: expect.any(Number),
        nest: expect.any(Number),
        nestBest: null,
        dbos: null,
        ceiling: null,
        target: 'millis ≤ 1.5× nest',
        met: expect.any(Boolean),
        // The other one is at-least-once, and may be caught at it.
        flaws: expect.not.arrayContaining([expect.stringMatching(/^ours/)]),
      }),
    ]);
  }, 180_000);

  it('says which rows there are to whoever names one that does not exist', async () => {
    const { code, out, err } = await bench('--only', 'evnts');
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^--only: there is no row "evnts"\. Rows: events\.insert, .*\n$/);
  });
});
