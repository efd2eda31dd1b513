import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync, type WriteStream } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Guard } from '../../../sample/servers/guard.js';
import { until } from '../../crash/support/until.js';
import {
  type Order,
  type ServiceSettings,
  SETTINGS_VARIABLE,
  type Told,
} from '../service/service-settings.js';
import { stackFiles } from '../service/stack-writer.js';
import type { FaultyProxy } from './faulty-proxy.js';

const program = fileURLToPath(new URL('../service/main.js', import.meta.url));

export interface InstanceParts {
  readonly settings: ServiceSettings;
  /** Between it and Postgres. */
  readonly database: FaultyProxy;
  /** Between it and each broker. */
  readonly brokers: readonly FaultyProxy[];
  /** Receives what it prints. */
  readonly output: string;
  readonly guard: Guard;
  readonly onTold: (told: Told) => void;
}

/** One process of the service, with the proxies that are its own. */
export class Instance {
  readonly name: string;
  readonly database: FaultyProxy;
  readonly brokers: readonly FaultyProxy[];
  /** Its end is wanted; ends of their own are counted. */
  dismissed = false;
  frozen = false;
  /** Something was done to it that its own counters may not know of. */
  disturbed = false;
  /** It has joined its group, and has not left it by itself. */
  joined = false;
  exit: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;
  /** Names of fail points that it came by. */
  readonly reached: string[] = [];
  readonly pid: number | undefined;
  private readonly child: ChildProcess;
  private readonly output: WriteStream;
  private partial = '';
  private readonly reports: ((report: Extract<Told, { told: 'report' }>) => void)[] = [];
  private churned: (() => void) | undefined;

  constructor(private readonly parts: InstanceParts) {
    const { settings, guard, output } = parts;
    this.name = settings.instance;
    this.database = parts.database;
    this.brokers = parts.brokers;
    this.output = createWriteStream(output, { flags: 'a' });
    this.child = spawn(process.execPath, ['--enable-source-maps', program], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: {
        ...process.env,
        NO_COLOR: '1',
        NODE_OPTIONS: '',
        KAFKAJS_NO_PARTITIONER_WARNING: '1',
        [SETTINGS_VARIABLE]: JSON.stringify(settings),
      },
    });
    const { pid } = this.child;
    this.pid = pid;
    if (pid !== undefined) guard.process(pid, 'SIGKILL');
    this.child.once('exit', (code, signal) => {
      if (pid !== undefined) guard.gone(pid);
      this.exit = { code, signal };
      this.output.end();
      for (const proxy of [this.database, ...this.brokers]) void proxy.close();
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => this.read(text));
    this.child.stderr!.on('data', (text: Buffer) => this.print(text));
  }

  get settings(): ServiceSettings {
    return this.parts.settings;
  }

  get running(): boolean {
    return this.exit === undefined;
  }

  order(order: Order): void {
    if (this.child.connected) this.child.send(order, () => undefined);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  /** Resolves when it has ended, by itself or by SIGKILL after `grace` milliseconds. */
  async end(signal: NodeJS.Signals, grace: number): Promise<void> {
    this.dismissed = true;
    this.signal(signal);
    await until(`${this.name} to end`, () => !this.running, grace).catch(() => this.signal('SIGKILL'));
    await until(`${this.name} to be gone`, () => !this.running);
  }

  async churn(pauses: readonly number[]): Promise<void> {
    let done = false;
    this.churned = () => (done = true);
    this.order({ order: 'churn', pauses });
    await until(`${this.name} to leave and join`, () => done || !this.running, 60_000);
  }

  /** What it counts, and what keeps it busy; nothing if it does not answer. */
  async report(timeout = 5_000): Promise<Extract<Told, { told: 'report' }> | undefined> {
    let report: Extract<Told, { told: 'report' }> | undefined;
    this.reports.push((told) => (report = told));
    this.order({ order: 'report' });
    await until('a report', () => report !== undefined || !this.running, timeout).catch(() => undefined);
    return report;
  }

  /** Where its main thread stands, of a process that does not answer. */
  async stack(timeout = 10_000): Promise<string[]> {
    const { wanted, written } = stackFiles(this.settings.executionLog);
    await writeFile(wanted, '');
    await until('a stack', () => existsSync(written) || !this.running, timeout).catch(() => undefined);
    const text = await readFile(written, 'utf8').catch(() => '');
    await Promise.all([rm(wanted, { force: true }), rm(written, { force: true })]);
    return text === ''
      ? ['not known: its main thread runs no JavaScript, or it is stopped']
      : text.split('\n');
  }

  async lastLines(count: number): Promise<string> {
    const text = await readFile(this.parts.output, 'utf8').catch(() => '');
    return text.trimEnd().split('\n').slice(-count).join('\n');
  }

  describe(): string {
    const { exit } = this;
    if (exit) return `${this.name} has ended by ${exit.signal ?? `exit code ${exit.code}`}`;
    return `${this.name} ${this.frozen ? 'is frozen' : this.joined ? 'runs' : 'is joining'}`;
  }

  private read(text: string): void {
    const lines = (this.partial + text).split('\n');
    this.partial = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith('@')) {
        if (line) this.print(`${line}\n`);
      } else if (!line.startsWith('@{')) this.reached.push(line.slice(1));
      else this.take(JSON.parse(line.slice(1)) as Told);
    }
  }

  private print(text: string | Buffer): void {
    if (!this.output.writableEnded) this.output.write(text);
  }

  private take(told: Told): void {
    if (told.told === 'joined') this.joined = true;
    else if (told.told === 'left') this.joined = false;
    else if (told.told === 'churned') this.churned?.();
    else if (told.told === 'report') this.reports.shift()?.(told);
    this.parts.onTold(told);
  }
}
