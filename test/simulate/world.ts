import { InMemoryKafka, InMemoryLedgerStore } from 'nestjs-durable-kafka/testing';
import type { Clock } from '../../lib/runtime/clock.js';
import { Caller } from './caller.js';
import { Faults } from './faults.js';
import { Fleet } from './fleet.js';
import { Handlers } from './handlers.js';
import { violationsOf, type Violation } from './invariants.js';
import { Observer, TOPICS } from './observer.js';
import { Operator } from './operator.js';
import type { Plan, PlannedMessage, PlannedRecord } from './plan.js';
import { Scheduler } from './scheduler.js';
import { GROUP } from './service.js';
import { Trace } from './trace.js';

export interface Outcome {
  readonly violations: readonly Violation[];
  /** What happened, in words; the same for the same plan. */
  readonly trace: readonly string[];
  readonly steps: number;
  /** Virtual milliseconds. */
  readonly elapsed: number;
}

/** Virtual milliseconds within which everything must have come to its end after the last fault. */
const PATIENCE = 300_000;
const MAX_STEPS = 400_000;
const GOOD = { first: { kind: 'good' }, second: { kind: 'good' }, answer: { kind: 'good' } } as const;

/** Runs a plan to its end and judges it. */
export async function run(plan: Plan): Promise<Outcome> {
  return new World(plan).run();
}

class World {
  private readonly scheduler: Scheduler;
  private readonly trace: Trace;
  private readonly clock: Clock;
  private readonly kafka: InMemoryKafka;
  private readonly store = new InMemoryLedgerStore();
  private readonly observer: Observer;
  private readonly handlers: Handlers;
  private readonly fleet: Fleet;
  private readonly faults: Faults;
  private readonly caller: Caller;
  private readonly operator: Operator;
  private readonly messages: Map<number, PlannedMessage>;
  private readonly stuck: string[] = [];

  constructor(private readonly plan: Plan) {
    const scheduler = (this.scheduler = new Scheduler(plan));
    const trace = (this.trace = new Trace(scheduler));
    const clock = (this.clock = scheduler.process('world').clock());
    const kafka = (this.kafka = new InMemoryKafka({ clock, requestTimeout: 5_000 }));
    for (const topic of TOPICS) kafka.createTopic(topic, plan.partitions);
    kafka.createTopic('requests.reply', 2);
    this.messages = new Map(plan.messages.map((message) => [message.n, message]));
    const handlers = (this.handlers = new Handlers(plan, (n) => this.messages.get(n)!, trace));
    const fleet = (this.fleet = new Fleet(plan, scheduler, kafka, this.store, handlers, clock, trace));
    this.observer = new Observer(plan, kafka, this.store, trace, (owner) => fleet.nameOf(owner));
    this.faults = new Faults(kafka, this.store, fleet, clock, trace);
    this.operator = new Operator(this.store, scheduler.process('operator').clock(), trace);
    this.caller = new Caller(scheduler.process('caller'), kafka, (n, { kind, content }) =>
      trace.add('caller', `request with message ${n} ends as ${kind}: ${content}`),
    );
  }

  async run(): Promise<Outcome> {
    try {
      return await this.play();
    } catch (cause) {
      throw new Error(`The simulation itself broke at seed ${this.plan.seed}`, { cause });
    }
  }

  private async play(): Promise<Outcome> {
    this.fleet.startAll();
    const actions = this.actions();
    for (const { step, act } of actions) {
      await this.goOn(() => this.scheduler.steps >= step);
      act();
    }
    this.trace.add('world', 'heals');
    this.faults.heal();
    this.mend();
    if (this.plan.parking) this.operator.tend();
    this.produceTail();
    await this.until('everything is handled', () => this.isDone);
    if (this.plan.rewind && this.stuck.length === 0) await this.rewind();
    this.fleet.stopAll();
    await this.until('all services have stopped', () => this.fleet.trouble.length === 0);
    this.observer.look();
    const evidence = this.observer.evidence({
      settlements: this.caller.settlements,
      repeatedSteps: this.handlers.repeatedSteps,
      ordered: this.operator.ordered,
      stuck: this.stuck,
    });
    return {
      violations: violationsOf(evidence, this.messages),
      trace: this.trace.lines,
      steps: this.scheduler.steps,
      elapsed: this.scheduler.elapsed,
    };
  }

  private actions(): { readonly step: number; readonly act: () => void }[] {
    const { parking } = this.plan;
    const actions = [
      ...this.plan.messages.flatMap((message) =>
        message.records.map((record) => ({
          step: record.step,
          act: () => this.produce(message, record),
        })),
      ),
      ...this.plan.faults.map((fault) => ({ step: fault.step, act: () => this.faults.inject(fault) })),
      ...(parking ? [{ step: parking.mendedAt, act: () => this.mend() }] : []),
      ...(parking?.orders ?? []).map((order) => ({
        step: order.step,
        act: () => this.operator.obey(order),
      })),
    ];
    return actions.sort((left, right) => left.step - right.step);
  }

  private produce(message: PlannedMessage, record: PlannedRecord): void {
    const { n, topic, key, recordKey } = message;
    const { partition, variant } = record;
    if (topic === 'requests') {
      this.trace.add('caller', `requests message ${n}`);
      this.caller.send(message, record);
      return;
    }
    const headers: Record<string, string> =
      key === 'header'
        ? { 'idempotency-key': `k-${n}` }
        : key === 'message-id'
          ? { 'message-id': `m-${n}` }
          : {};
    const value = JSON.stringify({ n, variant });
    const [metadata] = this.kafka.produce(topic, { key: recordKey, value, headers, partition });
    const id = `${key}${variant ? `, variant ${variant}` : ''}`;
    this.trace.add('broker', `has message ${n} (${id}) at ${topic}[${partition}]@${metadata!.offset}`);
  }

  private mend(): void {
    if (this.handlers.areMended) return;
    this.handlers.areMended = true;
    if (this.plan.parking) this.trace.add('world', 'mends the handlers that are sick');
  }

  /** After the last fault each partition and the caller get one more: nobody may be left healthy and idle. */
  private produceTail(): void {
    let n = 1_000;
    for (const topic of TOPICS) {
      for (let partition = 0; partition < this.plan.partitions; partition++) {
        const record = { step: this.scheduler.steps, partition, variant: 0 };
        const key = topic === 'events' ? 'position' : 'header';
        const tail: PlannedMessage = {
          ...{ n: n++, topic, key, recordKey: null, records: [record] },
          ...{ behaviour: GOOD, work: 0, emits: 1, steps: 0, emitsInStep: false },
        };
        this.messages.set(tail.n, tail);
        this.produce(tail, record);
      }
    }
  }

  private get isDone(): boolean {
    return this.caller.waiting === 0 && this.fleet.trouble.length === 0 && this.observer.isDone;
  }

  /** Everything is read again: nothing of it may take effect again. */
  private async rewind(): Promise<void> {
    this.fleet.stopAll();
    await this.until('all services have stopped', () => this.fleet.trouble.length === 0);
    // The dead are members until their sessions end.
    await this.until('the group is empty', () => this.kafka.group(GROUP).memberIds.length === 0);
    if (this.stuck.length > 0) return;
    const admin = this.kafka.createAdmin();
    const back = TOPICS.flatMap((topic) =>
      this.kafka.committed(GROUP, topic).map(({ partition }) => ({ topic, partition, offset: 0n })),
    );
    let over = false;
    const work = admin.connect().then(() => admin.setCommitted(GROUP, back));
    void work.finally(() => (over = true)).catch(() => undefined);
    await this.until('the offsets are set back', () => over);
    await work;
    this.trace.add('world', 'sets the offsets back');
    this.observer.forgetOffsets();
    this.fleet.startAll();
    await this.until('everything is read again', () => this.isDone);
  }

  /** Goes on until `isOver`, or notes that it did not come to that in time. */
  private async until(what: string, isOver: () => boolean): Promise<void> {
    const { scheduler } = this;
    const deadline = scheduler.elapsed + PATIENCE;
    const isLate = () => scheduler.elapsed > deadline || scheduler.steps > MAX_STEPS;
    let asked = 0;
    let done = false;
    await this.goOn(() => (done = asked++ % 16 === 0 && isOver()) || isLate());
    if (done) return;
    const trouble = this.fleet.trouble.join(', ');
    const waiting = this.caller.waiting > 0 ? `, ${this.caller.waiting} requests wait` : '';
    this.stuck.push(`not in time: ${what}${trouble && ` (${trouble})`}${waiting}`);
  }

  /** Takes steps until `isOver`, which is asked before each. After each, all promises go on that can. */
  private goOn(isOver: () => boolean): Promise<void> {
    // By callbacks: with promises this would cost as much as many a step.
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        try {
          for (;;) {
            this.observer.look();
            if (this.fleet.hasWork) return void this.fleet.settle().then(turn, reject);
            if (isOver()) return resolve();
            if (this.scheduler.step()) return void setImmediate(turn);
          }
        } catch (error) {
          reject(error as Error);
        }
      };
      turn();
    });
  }
}
