import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { within } from './waiting.js';
import type { Bed } from './bed.js';
import { type Mark, type MarkName, SETTINGS_VARIABLE, type SubjectMessage } from './subjects/settings.js';

/** Compiled programs lie beside this file; the peers' are where their packages are. */
const programs = {
  durable: new URL('./subjects/durable.js', import.meta.url),
  builtIn: new URL('./subjects/built-in.js', import.meta.url),
  bare: new URL('./subjects/bare.js', import.meta.url),
  dbos: new URL('../../../bench/peers/dbos.mjs', import.meta.url),
  requester: new URL('./subjects/requester.js', import.meta.url),
} as const;

export type Program = keyof typeof programs;

const readyMs = 60_000;
const stopMs = 30_000;
let started = 0;

/** A process of its own for what is measured: its CPU and memory are nobody else's. */
export class SubjectProcess {
  /** Wall clock, when it was started. */
  readonly startedAt = Date.now();
  private readonly child: ChildProcess;
  private readonly log: string;
  private readonly messages: SubjectMessage[] = [];
  private readonly ended: Promise<string>;
  private how: string | undefined;
  private onMessage: () => void = () => undefined;

  constructor(
    bed: Bed,
    private readonly program: Program,
    settings: object,
  ) {
    const { guard, logFolder } = bed.options;
    this.log = join(logFolder, `${++started}-${program}.log`);
    const output = openSync(this.log, 'a');
    const flags = (process.env['BENCH_NODE_FLAGS'] ?? '').split(' ').filter(Boolean);
    this.child = spawn(process.execPath, [...flags, fileURLToPath(programs[program])], {
      detached: true, // a group of its own: Ctrl-C reaches the benchmark only, which then ends it
      stdio: ['ignore', output, output, 'ipc'],
      env: {
        ...process.env,
        NODE_OPTIONS: '',
        NO_COLOR: '1',
        KAFKAJS_NO_PARTITIONER_WARNING: '1',
        [SETTINGS_VARIABLE]: JSON.stringify(settings),
      },
    });
    closeSync(output);
    const { pid } = this.child;
    if (pid !== undefined) guard.process(pid, 'SIGKILL');
    this.child.on('message', (message: SubjectMessage) => {
      this.messages.push(message);
      this.onMessage();
    });
    this.ended = new Promise((resolve) => {
      const end = (how: string) => {
        if (pid !== undefined) guard.gone(pid);
        resolve((this.how = how));
        this.onMessage();
      };
      this.child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      this.child.once('error', (error) => end(error.message));
    });
  }

  /** Resolves when it has joined its group. */
  async ready(): Promise<this> {
    await this.message((message) => 'ready' in message, 'to be ready', readyMs);
    return this;
  }

  async mark(name: MarkName, timeoutMs: number): Promise<Mark> {
    const isMark = (message: SubjectMessage): message is Mark => 'mark' in message && message.mark === name;
    return this.message(isMark, `to reach its mark "${name}"`, timeoutMs) as Promise<Mark>;
  }

  async result<Result>(timeoutMs: number): Promise<Result> {
    const message = await this.message((told) => 'result' in told, 'to tell its result', timeoutMs);
    return (message as { result: Result }).result;
  }

  /** An orderly end; SIGKILL if that takes too long. */
  async stop(): Promise<void> {
    this.signal('SIGTERM');
    await within(stopMs, 'an orderly end', this.ended).catch(() => this.signal('SIGKILL'));
    await this.ended;
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended;
  }

  private signal(signal: NodeJS.Signals): void {
    if (this.how === undefined) this.child.kill(signal);
  }

  private async message(
    fits: (message: SubjectMessage) => boolean,
    what: string,
    timeoutMs: number,
  ): Promise<SubjectMessage> {
    const told = new Promise<SubjectMessage>((resolve, reject) => {
      this.onMessage = () => {
        const message = this.messages.find(fits);
        if (message) resolve(message);
        else if (this.how !== undefined) reject(new Error(`It ended (${this.how})`));
      };
      this.onMessage();
    });
    try {
      return await within(timeoutMs, `Waiting for "${this.program}" ${what}`, told);
    } catch (error) {
      const lines = readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-12).join('\n  ');
      throw new Error(`${(error as Error).message}. "${this.program}" printed last:\n  ${lines}`, {
        cause: error,
      });
    }
  }
}
