import { spawn, type ChildProcess as NodeChild } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Guard } from '../servers/guard.js';
import { within } from '../servers/wait-for.js';

/** How a child process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildProcessOptions {
  /** For messages to the user, e.g. `built-in service 2`. */
  readonly name: string;
  /** Compiled program, relative to this file. */
  readonly program: string;
  readonly env: Record<string, string>;
  /** File that receives what the process prints. */
  readonly log: string;
  /** Ends the process if this one ends first. */
  readonly guard: Guard;
}

/** A Node.js program of this sample that tells when it is ready, and can be hit by signals. */
export class ChildProcess {
  readonly name: string;
  /** Resolves when the process has ended, whatever ended it. */
  readonly ended: Promise<Exit>;
  /** True once this side has asked for its end. */
  endIsWanted = false;
  private readonly child: NodeChild;
  private exit: Exit | undefined;

  constructor(private readonly options: ChildProcessOptions) {
    const { name, program, env, log, guard } = options;
    if (!guard.active) throw new Error(`${name} is not started any more: the demo is ending.`);
    this.name = name;
    const output = openSync(log, 'a');
    this.child = spawn(
      process.execPath,
      ['--enable-source-maps', fileURLToPath(new URL(program, import.meta.url))],
      {
        detached: true, // a group of its own: Ctrl-C reaches the supervisor only, which then ends it
        stdio: ['ignore', output, output, 'ipc'],
        env: { ...process.env, NO_COLOR: '1', KAFKAJS_NO_PARTITIONER_WARNING: '1', ...env },
      },
    );
    closeSync(output);
    const { pid } = this.child;
    if (pid !== undefined) guard.process(pid, 'SIGKILL');
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null) => {
        if (pid !== undefined) guard.gone(pid);
        resolve((this.exit = { code, signal }));
      };
      this.child.once('exit', end);
      this.child.once('error', () => end(null, null));
    });
  }

  get running(): boolean {
    return this.exit === undefined;
  }

  /** Resolves at the first message; rejects, with what the process printed last, if it ends before or takes too long. */
  async ready(timeoutMs: number): Promise<void> {
    const ready = this.nextMessage();
    const ended = this.ended.then((exit) => {
      if (!this.endIsWanted)
        throw new Error(this.describe(`ended before it was ready (${describeExit(exit)})`));
    });
    try {
      await within(timeoutMs, this.name, Promise.race([ready, ended]));
    } catch (error) {
      if (!this.running) throw error;
      throw new Error(this.describe(`was not ready within ${timeoutMs / 1000} s`), { cause: error });
    }
  }

  nextMessage(): Promise<unknown> {
    return new Promise((resolve) => this.child.once('message', resolve));
  }

  /** Does nothing if the process has ended. */
  send(message: string): void {
    if (this.child.connected) this.child.send(message, () => undefined);
  }

  /** Does nothing if the process has ended. */
  signal(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  /** SIGTERM; SIGKILL if it is still there after `timeoutMs`. */
  async stop(timeoutMs: number): Promise<void> {
    this.endIsWanted = true;
    this.signal('SIGTERM');
    await within(timeoutMs, this.name, this.ended).catch(() => this.signal('SIGKILL'));
    await this.ended;
  }

  /** A sentence about this process, followed by the last lines it printed. */
  describe(what: string): string {
    const lines = readFileSync(this.options.log, 'utf8').trimEnd().split('\n').slice(-15);
    const shown = lines.map((line) => `  ${line.slice(0, 300)}`.trimEnd());
    return `The ${this.name} ${what}. It printed last:\n${shown.join('\n')}`;
  }
}

export function describeExit({ code, signal }: Exit): string {
  return signal ? `signal ${signal}` : code === null ? 'it could not be started' : `exit code ${code}`;
}
