import { spawn, type ChildProcess } from 'node:child_process';

/** A Node program under test, with everything it has written so far. */
export class NodeProcess {
  output = '';
  private readonly child: ChildProcess;
  private readonly ended: Promise<number | string>;

  constructor(file: string, env: Readonly<Record<string, string>> = {}) {
    const child = spawn(process.execPath, [file], {
      env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.ended = new Promise((resolve) => {
      child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
    });
    this.child = child;
  }

  /** Resolves when `text` has been written; rejects with all output if the program ends without it. */
  async says(text: string): Promise<void> {
    const seen = new Promise<void>((resolve) => {
      const look = () => {
        if (this.output.includes(text)) resolve();
      };
      this.child.stdout?.on('data', look);
      look();
    });
    const over = this.ended.then((end) => {
      if (!this.output.includes(text)) throw new Error(`Ended (${end}) without "${text}":\n${this.output}`);
    });
    await Promise.race([seen, over]);
  }

  /** Exit code or signal. */
  exit(): Promise<number | string> {
    return this.ended;
  }

  /** Asks it to end, and waits. Idempotent. */
  async terminate(): Promise<number | string> {
    this.child.kill('SIGTERM');
    return this.ended;
  }
}
