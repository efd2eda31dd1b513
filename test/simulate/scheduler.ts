import type { Clock } from '../../lib/runtime/clock.js';

interface Task {
  readonly owner: SimulatedProcess;
  readonly work: () => void;
  cancelled: boolean;
}

interface Timer {
  readonly at: number;
  /** Timers of one moment in the order of their making, so that the heap's shape says nothing. */
  readonly order: number;
  readonly task: Task;
}

export interface SchedulerSettings {
  readonly seed: number;
  /** Virtual milliseconds that each step takes. */
  readonly tick: number;
}

/**
 * Virtual time for several processes in one thread. Whatever may happen next, an answer that arrives or a timer that is
 * due, happens in an order that the seed decides; time jumps to the next timer when nothing else is left. The same seed
 * and the same calls give the same run.
 */
export class Scheduler {
  /** Steps taken so far: tasks run, and jumps in time. */
  steps = 0;
  elapsed = 0;
  private readonly ready: Task[] = [];
  private readonly timers: Timer[] = [];
  private readonly processes: SimulatedProcess[] = [];
  private made = 0;
  private state: number;

  constructor(private readonly settings: SchedulerSettings) {
    this.state = settings.seed >>> 0;
  }

  process(name: string): SimulatedProcess {
    const process = new SimulatedProcess(name, this);
    this.processes.push(process);
    return process;
  }

  /** In [0, 1); mulberry32. */
  random(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** In [0, below). */
  pick(below: number): number {
    return Math.floor(this.random() * below);
  }

  /** Runs one of the things that may happen now. Tells whether anything ran: then promises may go on. */
  step(): boolean {
    this.steps++;
    this.elapsed += this.settings.tick;
    this.makeDue();
    if (this.ready.length === 0) {
      const next = this.timers[0];
      if (!next) {
        this.elapsed += IDLE;
        return false;
      }
      this.elapsed = Math.max(this.elapsed, next.at);
      this.makeDue();
    }
    const index = this.pick(this.ready.length);
    const task = this.ready[index]!;
    // What is left has no order worth keeping: the next one is picked by chance anyway.
    this.ready[index] = this.ready[this.ready.length - 1]!;
    this.ready.pop();
    if (task.cancelled || task.owner.state === 'dead') return false;
    if (task.owner.state === 'frozen') {
      task.owner.held.push(task);
      return false;
    }
    task.work();
    return true;
  }

  /** For processes. */
  enqueue(task: Task): void {
    this.ready.push(task);
  }

  /** For processes. */
  enqueueAt(at: number, task: Task): void {
    const { timers } = this;
    const timer = { at, order: this.made++, task };
    let index = timers.length;
    timers.push(timer);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(timer, timers[parent]!)) break;
      timers[index] = timers[parent]!;
      index = parent;
    }
    timers[index] = timer;
  }

  private makeDue(): void {
    while (this.timers.length > 0) {
      const { at, task } = this.timers[0]!;
      const isOver = task.cancelled || task.owner.state === 'dead';
      if (!isOver && at > this.elapsed) return;
      this.removeFirst();
      if (!isOver) this.ready.push(task);
    }
  }

  private removeFirst(): void {
    const { timers } = this;
    const last = timers.pop()!;
    if (timers.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= timers.length) break;
      if (child + 1 < timers.length && isBefore(timers[child + 1]!, timers[child]!)) child++;
      if (!isBefore(timers[child]!, last)) break;
      timers[index] = timers[child]!;
      index = child;
    }
    timers[index] = last;
  }
}

export interface ClockSettings {
  /** Milliseconds by which the wall clock is wrong. */
  readonly skew?: number;
  /** Most milliseconds that a message takes now, for what is far away. */
  readonly latency?: () => number;
}

/** One of the processes that share a scheduler: it may stand still for a while, and it may die. */
export class SimulatedProcess {
  state: 'running' | 'frozen' | 'dead' = 'running';
  /** What would have happened while it stood still. */
  readonly held: Task[] = [];

  constructor(
    readonly name: string,
    private readonly scheduler: Scheduler,
  ) {}

  clock(settings: ClockSettings = {}): Clock {
    return new ProcessClock(this, this.scheduler, settings);
  }

  /** As SIGSTOP: nothing of this process happens any more, until `thaw`. */
  freeze(): void {
    if (this.state === 'running') this.state = 'frozen';
  }

  thaw(): void {
    if (this.state !== 'frozen') return;
    this.state = 'running';
    for (const task of this.held.splice(0)) this.scheduler.enqueue(task);
  }

  /** As SIGKILL: wherever it was, it is not going on. */
  kill(): void {
    this.state = 'dead';
    this.held.length = 0;
  }
}

class ProcessClock implements Clock {
  constructor(
    private readonly owner: SimulatedProcess,
    private readonly scheduler: Scheduler,
    private readonly settings: ClockSettings,
  ) {}

  now(): number {
    return Math.floor(START + this.scheduler.elapsed + (this.settings.skew ?? 0));
  }

  monotonic(): number {
    return this.scheduler.elapsed;
  }

  setTimeout(callback: () => void, milliseconds: number): Task {
    const task = { owner: this.owner, work: callback, cancelled: false };
    this.scheduler.enqueueAt(this.scheduler.elapsed + Math.max(0, milliseconds), task);
    return task;
  }

  setBackgroundTimeout(callback: () => void, milliseconds: number): Task {
    return this.setTimeout(callback, milliseconds);
  }

  clearTimeout(timer: unknown): void {
    if (timer) (timer as Task).cancelled = true;
  }

  setImmediate(callback: () => void): void {
    const latency = this.settings.latency?.() ?? 0;
    if (latency > 0) this.setTimeout(callback, this.random() * latency);
    else this.scheduler.enqueue({ owner: this.owner, work: callback, cancelled: false });
  }

  random(): number {
    return this.scheduler.random();
  }

  uuid(): string {
    const time = this.now().toString(16).padStart(12, '0');
    const digits = Array.from({ length: 19 }, () => this.scheduler.pick(16).toString(16)).join('');
    const variant = (8 + this.scheduler.pick(4)).toString(16);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${digits.slice(0, 3)}-${variant}${digits.slice(3, 6)}-${digits.slice(6, 18)}`;
  }
}

/** Virtual milliseconds that pass in a step in which nothing can happen. */
const IDLE = 1_000;
const START = Date.UTC(2030, 0, 1);

function isBefore(left: Timer, right: Timer): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}
