import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Guard } from '../../../sample/servers/guard.js';
import { SETTINGS_VARIABLE, type ServiceSettings } from '../children/service-settings.js';
import { PATIENCE, until } from './until.js';

const program = fileURLToPath(new URL('../../dist/test/crash/children/service.js', import.meta.url));
const KEPT_LINES = 60;

/** A running service of `children/service.ts`. */
export class ServiceProcess {
  /** What it told, in order: `ready`, and the names of the fail points that it came by. */
  readonly told: string[] = [];
  private readonly child: ChildProcess;
  private readonly lines: string[] = [];
  private exit: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  private partial = '';

  /** @param guard ends the process when this one ends without having done so */
  constructor(
    readonly settings: ServiceSettings,
    guard: Guard,
  ) {
    this.child = spawn(process.execPath, ['--enable-source-maps', program], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, NO_COLOR: '1', NODE_OPTIONS: '', [SETTINGS_VARIABLE]: JSON.stringify(settings) },
    });
    const { pid } = this.child;
    if (pid !== undefined) guard.process(pid, 'SIGKILL');
    this.child.once('exit', (code, signal) => {
      if (pid !== undefined) guard.gone(pid);
      this.exit = { code, signal };
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => this.read(text));
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => this.read(text));
  }

  get signalled(): NodeJS.Signals | null | undefined {
    return this.exit?.signal;
  }

  get exitCode(): number | null | undefined {
    return this.exit?.code;
  }

  get running(): boolean {
    return this.exit === undefined;
  }

  /** Resolves when it has joined its group. */
  async ready(): Promise<this> {
    await this.hasTold('ready');
    return this;
  }

  async hasTold(what: string): Promise<void> {
    await until(
      `service ${this.settings.instance} to tell "${what}"`,
      () => {
        if (this.told.includes(what)) return true;
        if (!this.running) throw new Error(`It ended before it told "${what}". ${this.describe()}`);
        return false;
      },
      PATIENCE,
      () => this.describe(),
    );
  }

  /** Resolves when the service was killed at its fail point. */
  async killed(): Promise<void> {
    const { instance, failPoint } = this.settings;
    await until(
      `service ${instance} to be killed`,
      () => !this.running,
      PATIENCE,
      () => this.describe(),
    );
    if (this.signalled !== 'SIGKILL' || (failPoint && !this.told.includes(failPoint.place))) {
      throw new Error(`It was not killed where it should have been. ${this.describe()}`);
    }
  }

  tell(message: string): void {
    if (this.child.connected) this.child.send(message, () => undefined);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await until('a killed process to be gone', () => !this.running);
  }

  /** An orderly end. */
  async stop(): Promise<void> {
    this.signal('SIGTERM');
    await until(
      'an orderly end',
      () => !this.running,
      PATIENCE,
      () => this.describe(),
    );
  }

  logged(text: string): boolean {
    return this.loggedLines(text).length > 0;
  }

  loggedLines(text: string): string[] {
    return this.lines.filter((line) => line.includes(text));
  }

  describe(): string {
    const state = this.exit ? `ended with ${this.exit.signal ?? this.exit.code}` : 'runs';
    return `Service ${this.settings.instance} ${state}; its last lines:\n${this.lines.join('\n')}`;
  }

  private read(text: string): void {
    const lines = (this.partial + text).split('\n');
    this.partial = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith('@')) this.told.push(line.slice(1));
      else if (line) this.lines.push(line);
    }
    this.lines.splice(0, this.lines.length - KEPT_LINES);
  }
}
