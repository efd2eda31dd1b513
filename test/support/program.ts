import { spawn, type ChildProcess } from 'node:child_process';
import { eventually } from './eventually.js';

/** A child process that a test started, what it printed, and how it ended. */
export class Program {
  readonly ended: Promise<void>;
  output = '';
  /** Of `output`, what went to standard output. */
  standardOutput = '';
  code: number | null | undefined;
  signal: NodeJS.Signals | null | undefined;
  private readonly child: ChildProcess;

  constructor(
    program: URL,
    env: Record<string, string>,
    nodeOptions: readonly string[] = [],
    args: readonly string[] = [],
  ) {
    this.child = spawn(process.execPath, [...nodeOptions, program.pathname, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', NODE_OPTIONS: '', ...env },
    });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    this.child.stdout!.on('data', (text: string) => (this.standardOutput += text));
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        this.code = code;
        this.signal = signal;
        resolve();
      });
    });
  }

  get lines(): string[] {
    return this.output.split('\n').filter((line) => line !== '');
  }

  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.code === undefined;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  /** Asks it to end, and waits. Idempotent. */
  async terminate(): Promise<this> {
    this.kill('SIGTERM');
    return this.end();
  }

  /** Ends it, whatever it is at. */
  async close(): Promise<void> {
    this.kill('SIGKILL');
    await this.ended;
  }

  /** Resolves when it has printed `text`; fails with all it printed if it ends before or takes too long. */
  async printed(text: string, timeout = 100_000): Promise<void> {
    await eventually(() => !this.running || this.output.includes(text), timeout).catch(() => undefined);
    if (!this.output.includes(text)) throw new Error(`It did not print "${text}" but:\n${this.output}`);
  }

  /** Resolves when it has ended by itself; ends it, and fails with all it printed, if that takes too long. */
  async end(timeout = 100_000): Promise<this> {
    try {
      await eventually(() => !this.running, timeout);
    } catch (cause) {
      this.kill('SIGKILL');
      throw new Error(`It was still running after ${timeout} ms. It printed:\n${this.output}`, { cause });
    }
    return this;
  }
}
