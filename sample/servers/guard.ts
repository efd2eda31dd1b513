import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { cleanUp } from './clean-up.js';

/** What the watchdog is told, one JSON object a line. */
export type GuardMessage =
  { process: number; signal: NodeJS.Signals } | { gone: number } | { folder: string } | { done: string };

/**
 * Sees to it that processes and folders do not outlive this process, whatever ends it: a watchdog process is told about
 * each of them and cleans up when the pipe to it closes. `release()` closes that pipe on purpose, so that an orderly end
 * and a SIGKILL take the same road.
 */
export class Guard {
  private readonly processes = new Map<number, NodeJS.Signals>();
  private readonly folders = new Set<string>();
  private watchdog: ChildProcess | undefined;
  private watchdogEnded: Promise<void> | undefined;
  private released = false;

  /** `pid` leads a process group; `signal` ends it at once. */
  process(pid: number, signal: NodeJS.Signals): void {
    this.processes.set(pid, signal);
    this.tell({ process: pid, signal });
  }

  /** The process has ended: its id may belong to somebody else from now on. */
  gone(pid: number): void {
    this.processes.delete(pid);
    this.tell({ gone: pid });
  }

  /** A folder to remove. Say so before it is made, or right after. */
  folder(path: string): void {
    this.folders.add(path);
    this.tell({ folder: path });
  }

  /** The folder is not to be removed any more. */
  done(path: string): void {
    this.folders.delete(path);
    this.tell({ done: path });
  }

  /** False after `release()`: nothing may be started any more. */
  get active(): boolean {
    return !this.released;
  }

  /** Ends and removes everything. Resolves when that is done. */
  async release(): Promise<void> {
    this.released = true;
    if (this.watchdog) {
      this.watchdog.ref();
      this.watchdog.stdin?.end();
      await this.watchdogEnded;
    }
    // Finds something to do only if somebody has ended the watchdog.
    await cleanUp({
      processes: [...this.processes].map(([pid, signal]) => ({ pid, signal })),
      folders: [...this.folders],
    });
  }

  private tell(message: GuardMessage): void {
    if (this.released) return;
    this.watchdog ??= this.startWatchdog();
    this.watchdog.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  private startWatchdog(): ChildProcess {
    const watchdog = spawn(process.execPath, [fileURLToPath(new URL('./watchdog.js', import.meta.url))], {
      detached: true, // a session of its own: Ctrl-C and the end of the terminal do not reach it
      stdio: ['pipe', 'ignore', 'ignore'],
      cwd: '/',
      env: { ...process.env, NODE_OPTIONS: '' }, // no debugger, loader or heap limit of ours
    });
    this.watchdogEnded = new Promise((resolve) => {
      watchdog.once('exit', () => resolve());
      watchdog.once('error', () => resolve());
    });
    watchdog.stdin.on('error', () => undefined); // it was ended: release() then cleans up here
    watchdog.unref();
    (watchdog.stdin as unknown as { unref(): void }).unref();
    return watchdog;
  }
}
