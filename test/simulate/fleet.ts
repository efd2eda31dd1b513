import type { InMemoryKafka, InMemoryLedgerStore } from 'nestjs-durable-kafka/testing';
import type { Clock } from '../../lib/runtime/clock.js';
import type { Handlers } from './handlers.js';
import type { Plan } from './plan.js';
import type { Scheduler } from './scheduler.js';
import { Service } from './service.js';
import type { Trace } from './trace.js';

/** How long a supervisor waits before it starts a service anew that could not start, virtual ms. */
const RESTART_DELAY = 1_000;

interface Slot {
  service: Service | undefined;
  listening: boolean;
  started: number;
}

/** The instances of the service, and the supervisor that starts them again. */
export class Fleet {
  /** By instance: most milliseconds that a message takes to it or from it. */
  readonly latency: number[] = [];
  /** The same for the store, whoever asks it. */
  storeLatency = 0;
  private readonly slots: Slot[];
  private readonly names = new Map<string, string>();
  private readonly stopping = new Set<string>();
  private readonly due: (() => Promise<void>)[] = [];
  private waiting = 0;
  private keepsRunning = true;

  constructor(
    private readonly plan: Plan,
    private readonly scheduler: Scheduler,
    private readonly kafka: InMemoryKafka,
    private readonly store: InMemoryLedgerStore,
    private readonly handlers: Handlers,
    private readonly clock: Clock,
    private readonly trace: Trace,
  ) {
    this.slots = Array.from({ length: plan.instances }, () => ({
      service: undefined,
      listening: false,
      started: 0,
    }));
  }

  /** The process that a ledger belongs to. */
  nameOf(ledger: string): string {
    return this.names.get(ledger) ?? ledger;
  }

  startAll(): void {
    this.keepsRunning = true;
    for (const index of this.slots.keys()) this.startLater(index, 0);
  }

  /** Does what has become due: building an application takes real time, and none of the virtual. */
  async settle(): Promise<void> {
    for (const action of this.due.splice(0)) await action();
  }

  get hasWork(): boolean {
    return this.due.length > 0;
  }

  /** What keeps the fleet from being complete, in words; empty when all listen. */
  get trouble(): string[] {
    if (!this.keepsRunning) return [...this.stopping].map((name) => `${name} has not stopped`);
    return [
      ...this.slots.flatMap(({ listening }, index) =>
        listening ? [] : [`instance ${index} does not listen`],
      ),
      ...[...this.stopping].map((name) => `${name} has not stopped`),
    ];
  }

  /** As SIGKILL. */
  crash(index: number, restartAfter: number): void {
    const { service } = this.slots[index]!;
    if (!service) return;
    this.trace.add('fault', `${service.process.name} is killed`);
    service.crash();
    this.stopping.delete(service.process.name);
    this.vacate(index);
    this.startLater(index, restartAfter);
  }

  /** As SIGTERM. */
  stop(index: number, restartAfter: number): void {
    const { service } = this.slots[index]!;
    if (service?.process.state !== 'running') return;
    const { name } = service.process;
    this.trace.add('fault', `${name} is asked to stop`);
    this.vacate(index);
    this.stopping.add(name);
    const stopped = () => {
      if (!this.stopping.delete(name)) return;
      this.trace.add(name, 'has stopped');
      this.startLater(index, restartAfter);
    };
    service.stop().then(stopped, (error: unknown) => {
      this.trace.add(name, `could not stop: ${String(error)}`);
      stopped();
    });
  }

  /** As SIGSTOP, and SIGCONT after a while. */
  freeze(index: number, lasts: number): void {
    const { service } = this.slots[index]!;
    if (service?.process.state !== 'running') return;
    this.trace.add('fault', `${service.process.name} stands still for ${lasts} ms`);
    service.process.freeze();
    this.clock.setTimeout(() => this.thaw(service), lasts);
  }

  /** Its connections to the store break. */
  cut(index: number): void {
    const { service } = this.slots[index]!;
    if (!service) return;
    this.trace.add('fault', `${service.process.name} loses its connections to the store`);
    service.ledger.breakConnections();
  }

  loseCommitAnswer(index: number, stored: boolean): void {
    const { service } = this.slots[index]!;
    if (!service) return;
    const how = stored ? 'is stored' : 'is not stored';
    this.trace.add('fault', `${service.process.name} gets no answer to its next COMMIT, which ${how}`);
    service.ledger.loseNextCommitAnswer(stored);
  }

  thawAll(): void {
    for (const { service } of this.slots) if (service) this.thaw(service);
  }

  /** Ends all of them in good order, for good. */
  stopAll(): void {
    this.keepsRunning = false;
    for (const index of this.slots.keys()) this.stop(index, 0);
  }

  private thaw({ process }: Service): void {
    if (process.state !== 'frozen') return;
    this.trace.add('fault', `${process.name} goes on`);
    process.thaw();
  }

  private vacate(index: number): void {
    const slot = this.slots[index]!;
    slot.service = undefined;
    slot.listening = false;
  }

  private startLater(index: number, delay: number): void {
    if (!this.keepsRunning) return;
    this.waiting++;
    this.clock.setTimeout(() => {
      this.waiting--;
      if (this.keepsRunning) this.due.push(() => this.start(index));
    }, delay);
  }

  private async start(index: number): Promise<void> {
    const slot = this.slots[index]!;
    if (slot.service) return;
    const name = `s${index}.${++slot.started}`;
    const service = await Service.create({
      plan: this.plan,
      instance: index,
      process: this.scheduler.process(name),
      kafka: this.kafka,
      store: this.store,
      skew: this.plan.skew[index]!,
      latency: () => this.latency[index] ?? 0,
      storeLatency: () => Math.max(this.storeLatency, this.latency[index] ?? 0),
      work: (clock) => this.handlers.in(name, clock),
    });
    slot.service = service;
    this.names.set(service.ledger.name, name);
    this.trace.add(name, 'starts');
    await service.start();
    service.listening.then(
      () => {
        if (slot.service !== service) return;
        slot.listening = true;
        this.trace.add(name, 'listens');
      },
      (error: unknown) => {
        if (slot.service !== service) return;
        this.trace.add(name, `could not start: ${error instanceof Error ? error.message : String(error)}`);
        service.crash();
        this.vacate(index);
        this.startLater(index, RESTART_DELAY);
      },
    );
  }
}
