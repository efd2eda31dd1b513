import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { signalGroup } from './clean-up.js';
import type { Guard } from './guard.js';
import { waitFor } from './wait-for.js';

/** Who a process runs as; nobody named: as we do. */
export interface RunAs {
  uid?: number;
  gid?: number;
}

export interface ServerCommand extends RunAs {
  /** For messages, e.g. `Kafka`. */
  name: string;
  file: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  cwd: string;
  /** Receives what the server prints. */
  logFile: string;
  /** Orderly end. */
  fast: NodeJS.Signals;
  /** End at once. */
  kill: NodeJS.Signals;
}

/** Time for an orderly end before the process is killed. */
const fastStopMs = 20_000;

/** A server that can be started and stopped several times, in a process group of its own, under the guard's eyes. */
export class ServerProcess {
  private child: ChildProcess | undefined;
  private ended: Promise<string> = Promise.resolve('not started');

  constructor(
    private readonly command: ServerCommand,
    private readonly guard: Guard,
  ) {}

  get running(): boolean {
    return this.child !== undefined;
  }

  /** Starts the process and resolves when `answers` does. Otherwise ends it and rejects with the end of its log. */
  async start<Answer>(answers: () => Promise<Answer>, timeoutMs: number): Promise<Answer> {
    const { name } = this.command;
    if (!this.guard.active) throw new Error(`${name} was ended by stop(): call startServers() anew.`);
    this.spawn();
    const giveUp = this.ended.then((how) => {
      throw new Error(`it ended: ${how}`);
    });
    try {
      return await waitFor(answers, { what: 'no answer', timeoutMs, giveUp });
    } catch (cause) {
      await this.stop('kill');
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`${name} did not start: ${reason}.\n${await this.lastLines()}`, { cause });
    }
  }

  /** Resolves when the process has ended. Does nothing if it does not run. */
  async stop(how: 'fast' | 'kill'): Promise<void> {
    const pid = this.child?.pid;
    if (pid === undefined) return;
    signalGroup(pid, how === 'fast' ? this.command.fast : this.command.kill);
    const stopped = { what: `${this.command.name} has not ended`, giveUp: undefined };
    const gone = async () => {
      if (this.child?.pid === pid) throw new Error(`process ${pid}`);
    };
    await waitFor(gone, { ...stopped, timeoutMs: fastStopMs, everyMs: 10 }).catch(async () => {
      signalGroup(pid, 'SIGKILL');
      await waitFor(gone, { ...stopped, timeoutMs: 5_000 });
    });
  }

  private spawn(): void {
    const { file, args, env, cwd, uid, gid, logFile, kill } = this.command;
    const output = openSync(logFile, 'a');
    const child = spawn(file, args, {
      detached: true,
      stdio: ['ignore', output, output],
      env,
      cwd,
      uid,
      gid,
    });
    closeSync(output);
    this.child = child;
    const { pid } = child;
    if (pid !== undefined) this.guard.process(pid, kill);
    this.ended = new Promise((resolve) => {
      const settle = (how: string) => {
        if (pid !== undefined) this.guard.gone(pid);
        if (this.child === child) this.child = undefined;
        resolve(how);
      };
      child.once('exit', (code, signal) => settle(signal ? `signal ${signal}` : `exit code ${code}`));
      child.once('error', (error) => settle(error.message));
    });
    child.unref();
  }

  private async lastLines(): Promise<string> {
    const text = await readEnd(this.command.logFile, 16_384).catch(() => '');
    const lines = text.trimEnd().split('\n').slice(-15);
    return text.trim()
      ? `Last lines of its log:\n${lines.map((line) => `  ${line.slice(0, 300)}`).join('\n')}`
      : 'Its log is empty.';
  }
}

async function readEnd(path: string, bytes: number): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
