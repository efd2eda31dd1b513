import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../crash/support/until.js';
import type { Dice } from '../dice.js';
import type { Instance } from './instance.js';

/** Joining waits for members that have died, but for no longer than their session timeouts, and for servers. */
const JOIN_TIMEOUT = 90_000;
const STOP_TIMEOUT = 20_000;
/** A process that ends by itself is started again, as any supervisor would, and counted. */
const RESTART_PAUSE = 500;

export interface FleetEvents {
  /** How many processes there are to be. */
  readonly size: number;
  readonly create: (name: string, clockSkew: number) => Promise<Instance>;
  readonly event: (line: string) => void;
}

/** The processes of the service. Each is hit by one fault at a time, and some faults need all of them. */
export class Fleet {
  /** All that ever were. */
  readonly instances: Instance[] = [];
  /** Processes that ended although nobody wanted it. */
  unplannedEnds = 0;
  private readonly busy = new Set<Instance>();
  private exclusive = 0;
  private started = 0;
  private closing = false;

  constructor(private readonly events: FleetEvents) {}

  get running(): Instance[] {
    return this.instances.filter(({ running }) => running);
  }

  /** Those that have joined and that nothing is being done to. */
  get idle(): Instance[] {
    return this.running.filter(
      (instance) => instance.joined && !instance.dismissed && !this.busy.has(instance),
    );
  }

  /** Starts a process; resolves when it has joined its group. */
  async start(clockSkew = 0): Promise<Instance> {
    const instance = await this.events.create(`instance-${++this.started}`, clockSkew);
    this.instances.push(instance);
    this.watch(instance);
    await until(
      `${instance.name} to join`,
      () => instance.joined || !instance.running,
      JOIN_TIMEOUT,
      () => instance.lastLines(15),
    );
    return instance;
  }

  /** Runs a fault on one process, which no other fault disturbs meanwhile; not before so many others are there. */
  async withVictim<Result>(
    dice: Dice,
    fault: (victim: Instance) => Promise<Result>,
    others = 0,
  ): Promise<Result> {
    const fraction = dice.fraction();
    await until(
      'a process that can be hit',
      () => this.exclusive === 0 && this.idle.length > others,
      JOIN_TIMEOUT,
    );
    const victim = this.idle[Math.floor(fraction * this.idle.length)]!;
    this.busy.add(victim);
    try {
      return await fault(victim);
    } finally {
      this.busy.delete(victim);
    }
  }

  /** Stops all processes in order, does `work`, and starts as many again, whatever came of it. */
  async withoutInstances(work: () => Promise<void>): Promise<void> {
    await until('other faults to end', () => this.exclusive === 0, JOIN_TIMEOUT);
    this.exclusive++;
    try {
      await until('other faults to end', () => this.busy.size === 0, JOIN_TIMEOUT);
      await this.stopAll();
      await work();
    } finally {
      await this.complete();
      this.exclusive--;
    }
  }

  /** Starts what is missing. */
  async complete(): Promise<void> {
    const missing = Math.max(0, this.events.size - this.running.length);
    await Promise.all(Array.from({ length: missing }, () => this.start()));
  }

  async replace(victim: Instance): Promise<Instance> {
    await until(`${victim.name} to be gone`, () => !victim.running);
    return this.start();
  }

  /** SIGTERM for all. Resolves when all are gone. */
  async stopAll(): Promise<void> {
    await Promise.all(this.running.map((instance) => instance.end('SIGTERM', STOP_TIMEOUT)));
  }

  /** Starts nothing any more, and kills what runs. */
  async close(): Promise<void> {
    this.closing = true;
    await Promise.all(this.running.map((instance) => instance.end('SIGKILL', STOP_TIMEOUT)));
  }

  private watch(instance: Instance): void {
    void until('its end', () => !instance.running, 2 ** 31 - 1)
      .then(async () => {
        if (instance.dismissed || this.closing) return;
        // Who finds no server at its start ends, and is started again, as users have it; so does who left and joins again.
        if (instance.joined) this.unplannedEnds++;
        this.events.event(`${instance.describe()}; another one is started`);
        await sleep(RESTART_PAUSE);
        await until('other faults to end', () => this.exclusive === 0, JOIN_TIMEOUT);
        if (!this.closing && this.running.length < this.events.size) await this.start();
      })
      .catch((error: Error) => this.events.event(error.message));
  }
}
