import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { BankTopics, Offsets } from './bank-topics.js';
import type { ChildProcess } from './child-process.js';
import { bookedOf } from './database.js';
import type { Fleet } from './fleet.js';
import type { Names } from './names.js';
import type { TransferProducer } from './producer.js';
import { type Fault, type Scenario, sessionTimeoutMs, type Wave } from './scenario.js';

export interface SupervisorParts {
  readonly names: Names;
  readonly scenario: Scenario;
  readonly fleet: Fleet;
  readonly topics: BankTopics;
  readonly producer: TransferProducer;
  readonly pool: Pool;
  readonly event: (line: string) => void;
  readonly signal: AbortSignal;
}

/** What the supervisor did, as far as the count needs it. */
export interface Ordeal {
  readonly kills: number;
  /** Kills that hit while transfers of the wave were not booked yet. */
  readonly killsInMidWork: number;
  /** Where the group was, in the transfers' topic, when it was set back to offset 0. */
  readonly rewoundFrom: Offsets;
  /** Journal lines before the rewind that a transfer had beyond its first. */
  readonly superfluousBeforeRewind: number;
}

/** The service does nothing for so long although it could: what is missing now is missing for good. */
const stalledAfterMs = 25_000;
/** After the session timeout, so that the frozen process is certainly no member any more. */
const frozenAtLeastMs = sessionTimeoutMs + 1_500;

/** Produces the waves of a scenario and does to the service what the scenario says. */
export class Supervisor {
  private kills = 0;
  private killsInMidWork = 0;
  private rewoundFrom: Offsets = new Map();
  private superfluousBeforeRewind = 0;
  private frozen: { service: ChildProcess; since: number } | undefined;

  constructor(private readonly parts: SupervisorParts) {}

  /** Resolves when the service has come to the end of its topics. Leaves its processes running. */
  async run(): Promise<Ordeal> {
    const { scenario, fleet } = this.parts;
    await fleet.start();
    for (const wave of scenario.waves) {
      await this.prepare(wave);
      await this.parts.producer.produce(wave.produced);
      for (const fault of wave.faults) await this.inject(wave, fault);
      await this.restart(wave.faults.filter(({ kind }) => kind === 'kill').length);
      await this.thaw();
      await this.until(() => this.booked(wave).then(({ booked }) => size(wave) - booked));
    }
    const { kills, killsInMidWork, rewoundFrom, superfluousBeforeRewind } = this;
    return { kills, killsInMidWork, rewoundFrom, superfluousBeforeRewind };
  }

  /** Resolves when the group has committed all it was given, or nothing moves any more. */
  async drained(): Promise<void> {
    await this.until(() => this.parts.topics.lag(), 100);
  }

  private async prepare(wave: Wave): Promise<void> {
    const { fleet, topics, event } = this.parts;
    if (wave.before === 'second-instance') {
      event('a second process joins');
      await fleet.start();
    }
    if (wave.before === 'rewind') {
      await fleet.stopAll();
      const { booked, lines } = await bookedOf(this.parts.pool, this.parts.names, 1, wave.first - 1);
      this.superfluousBeforeRewind = lines - booked;
      this.rewoundFrom = await topics.rewind();
      event(
        `stopped (SIGTERM); the group starts over at offset 0: ${sum(this.rewoundFrom)} records come again`,
      );
      await Promise.all([fleet.start(), fleet.start()]);
    }
  }

  private async inject(wave: Wave, fault: Fault): Promise<void> {
    const { fleet, event } = this.parts;
    await this.untilBooked(wave, fault);
    const { working } = fleet;
    const victim = working[Math.floor(fault.victim * working.length)];
    if (!victim) throw new Error('No process of the service is left to be hit.');
    if (fault.kind === 'freeze') {
      fleet.freeze(victim);
      this.frozen = { service: victim, since: performance.now() };
      event(`SIGSTOP: ${victim.name} holds what it holds`);
      return;
    }
    await fleet.kill(victim);
    const { booked } = await this.booked(wave);
    this.kills++;
    if (booked < size(wave)) this.killsInMidWork++;
    event(`SIGKILL ${this.kills}: ${victim.name}, with ${size(wave) - booked} transfers to go`);
  }

  /** Starts as many processes as were killed. */
  private async restart(killed: number): Promise<void> {
    const successors = await Promise.all(Array.from({ length: killed }, () => this.parts.fleet.start()));
    for (const { name } of successors) this.parts.event(`${name} has joined`);
  }

  /** Waits for the moment of a fault. The process that is frozen may hold up the others: then that is the moment. */
  private async untilBooked(wave: Wave, { afterBooked }: Fault): Promise<void> {
    const patienceMs = this.frozen ? 1_000 : stalledAfterMs;
    await this.until(() => this.booked(wave).then(({ booked }) => afterBooked - booked), 3, patienceMs);
  }

  private async thaw(): Promise<void> {
    if (!this.frozen) return;
    const { service, since } = this.frozen;
    await this.pause(Math.max(0, since + frozenAtLeastMs - performance.now()));
    this.parts.fleet.thaw(service);
    this.frozen = undefined;
    const seconds = ((performance.now() - since) / 1_000).toFixed(1);
    this.parts.event(`SIGCONT: ${service.name} goes on after ${seconds} s, its partitions are another's`);
  }

  private booked(wave: Wave): Promise<{ booked: number; lines: number }> {
    return bookedOf(this.parts.pool, this.parts.names, wave.first, wave.last);
  }

  /** Polls until nothing is left, or until what is left has not changed for `patienceMs`. */
  private async until(left: () => Promise<number>, everyMs = 50, patienceMs = stalledAfterMs): Promise<void> {
    let [least, since] = [Infinity, performance.now()];
    for (;;) {
      const now = await left();
      if (now <= 0) return;
      if (now < least) [least, since] = [now, performance.now()];
      if (performance.now() - since > patienceMs) return;
      await this.pause(everyMs);
    }
  }

  private async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.parts.signal });
  }
}

function size({ first, last }: Wave): number {
  return last - first + 1;
}

function sum(offsets: Offsets): number {
  return [...offsets.values()].reduce((total, offset) => total + offset, 0);
}
