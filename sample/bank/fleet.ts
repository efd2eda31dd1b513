import { join } from 'node:path';
import type { Guard } from '../servers/guard.js';
import { ChildProcess, describeExit } from './child-process.js';

export interface FleetOptions {
  /** For messages, e.g. `built-in service`. */
  readonly name: string;
  readonly program: string;
  readonly env: Record<string, string>;
  readonly logFolder: string;
  readonly guard: Guard;
  /** Receives what happens, a line each. */
  readonly event: (line: string) => void;
}

/** Joining waits for members that have died, but for no longer than their session timeouts. */
const readyTimeoutMs = 60_000;
const stopTimeoutMs = 15_000;
/** A process that ends by itself is started again so often, as any supervisor would; then the demo has failed. */
const mostUnplannedEnds = 3;

/** The processes of one service, which form one consumer group. */
export class Fleet {
  /** Rejects when the service cannot be kept running. */
  readonly failed: Promise<never>;
  /** How many processes ended by themselves. */
  unplannedEnds = 0;
  private readonly processes = new Set<ChildProcess>();
  private readonly frozen = new Set<ChildProcess>();
  private started = 0;
  private fail!: (error: unknown) => void;

  constructor(private readonly options: FleetOptions) {
    this.failed = new Promise((_, reject) => (this.fail = reject));
    this.failed.catch(() => undefined); // whoever waits for it hears of it
  }

  /** Resolves when a new process has joined the group; rejects with its last words if it does not. */
  async start(): Promise<ChildProcess> {
    const { program, env, logFolder, guard, event } = this.options;
    const number = ++this.started;
    const name = `${this.options.name} ${number}`;
    const log = join(logFolder, `${name.replaceAll(' ', '-')}.log`);
    const service = new ChildProcess({ name, program, env, log, guard });
    this.processes.add(service);
    const joined = service.ready(readyTimeoutMs);
    void service.ended.then((exit) => {
      this.processes.delete(service);
      this.frozen.delete(service);
      if (service.endIsWanted || !guard.active) return;
      joined.then(
        () => {
          this.unplannedEnds++;
          event(`${name} ended by itself (${describeExit(exit)})`);
          if (this.unplannedEnds > mostUnplannedEnds)
            this.fail(new Error(service.describe('ended by itself')));
          else this.start().catch(this.fail);
        },
        () => undefined, // told by start()
      );
    });
    await joined;
    return service;
  }

  /** Those that run and are not frozen, oldest first. */
  get working(): ChildProcess[] {
    return [...this.processes].filter((service) => !this.frozen.has(service));
  }

  /** SIGKILL. Resolves when the process is gone. */
  async kill(service: ChildProcess): Promise<void> {
    service.endIsWanted = true;
    service.signal('SIGKILL');
    await service.ended;
  }

  /** SIGSTOP: it keeps its connections, its open transaction and its locks, and hears nothing. */
  freeze(service: ChildProcess): void {
    this.frozen.add(service);
    service.signal('SIGSTOP');
  }

  /** SIGCONT: it goes on where it was, with what it believed then. */
  thaw(service: ChildProcess): void {
    this.frozen.delete(service);
    service.signal('SIGCONT');
  }

  /** SIGTERM for all. Resolves when all are gone. */
  async stopAll(): Promise<void> {
    for (const service of this.frozen) this.thaw(service);
    await Promise.all([...this.processes].map((service) => service.stop(stopTimeoutMs)));
  }
}
