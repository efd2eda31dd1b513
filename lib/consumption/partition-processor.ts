import { setMaxListeners } from 'node:events';
import type { AssignedPartition } from '../driver/driver.js';
import { StaleMemberError } from '../errors/errors.js';
import { partitionName, type KafkaRecord } from '../messages/record.js';
import { Few } from '../runtime/few.js';
import { isPromise } from '../runtime/is-promise.js';
import { unlessAborted } from '../runtime/unless-aborted.js';
import { newDelivery, type Attempt, type Delivery, type Route } from './attempt.js';
import { begunSince, hasBegun, type BegunOffsets } from './begun-offsets.js';
import { chainsOf, sequencesOf } from './chains.js';
import { isNobodysFault } from './decision.js';
import { DeliveryEvents } from './delivery-events.js';
import type { EngineContext } from './engine-context.js';
import { FailureHandling, type PartitionLife } from './failure-handling.js';
import type { Trial } from './gate.js';
import { GroupPace } from './group-pace.js';
import { GroupRun, type GroupFailure, type GroupOutcome, type GroupRunHost } from './group-run.js';
import { Group, type GroupOrder, type GroupResource } from './group.js';
import { LetterDrain } from './letter-drain.js';
import { OffsetTracker } from './offset-tracker.js';
import { PartitionPause } from './partition-pause.js';
import { Sequences, type Entry, type Sequence } from './sequences.js';
import { Settlements } from './settlements.js';

/**
 * - `running`: takes records and works on them.
 * - `draining`: takes nothing new; ends the handlers that run, commits, and is idle.
 * - `stopped`: what runs is aborted and rolled back.
 */
type State = 'running' | 'draining' | 'stopped';

/**
 * Works on one partition for as long as it is assigned. The way of a record through here is
 * `push → sequence → group → settle → tracker`; there is no way back but a rollback, after which the same deliveries are
 * taken again from the heads of their sequences. Under ordering `partition` there is one sequence, and so one group at a
 * time; otherwise as many as there are slots.
 */
export class PartitionProcessor implements PartitionLife, GroupRunHost {
  private state: State = 'running';
  private readonly sequences: Sequences;
  private readonly tracker: OffsetTracker;
  private readonly settlements: Settlements;
  private readonly events: DeliveryEvents;
  private readonly failures: FailureHandling;
  private readonly pace: GroupPace;
  private readonly order: GroupOrder;
  private readonly ending = new AbortController();
  /** Groups under way, and the waits behind them. */
  private readonly working = new Set<Promise<void>>();
  private readonly runs = new Few<GroupRun>();
  private gathering = false;
  /** Above every record that a handler was called for. */
  private reached = 0n;
  /** Of the first group: any one knows the partition, and that of each last one would keep all of its group until the next. */
  private resource: GroupResource | undefined;
  /** Where others have the work on this partition rest. */
  readonly pause: PartitionPause;
  /** What is parked of this partition. */
  readonly letters: LetterDrain;

  /** @param before what this process knows of earlier assignments. */
  constructor(
    readonly partition: AssignedPartition,
    private readonly context: EngineContext,
    private readonly before: BegunOffsets,
  ) {
    // As many sequences wait for something as there are keys in trouble.
    setMaxListeners(0, this.ending.signal);
    const { ordering, groupCommit } = context.options;
    this.order = { isShared: ordering !== 'partition', isConcurrent: groupCommit.concurrent };
    this.sequences = new Sequences(ordering);
    this.pace = new GroupPace(groupCommit);
    this.pause = new PartitionPause(partition, context);
    this.tracker = new OffsetTracker(partition.startOffset);
    this.letters = new LetterDrain(partition, context, this);
    const done = () => {
      context.completed();
      this.balance();
    };
    this.settlements = new Settlements(this.tracker, context.log, done, () => this.letters.left());
    this.events = new DeliveryEvents(context.groupId, context.clock);
    this.failures = new FailureHandling(partition, context, this.settlements, this.events, this);
  }

  /** The offset to commit: every record below is done and acknowledged. */
  get position(): bigint {
    return this.tracker.position;
  }

  /** What handlers were called for, in this assignment and before. */
  get begun(): BegunOffsets {
    return begunSince(this.before, this.reached, this.tracker.end, this.sequences.unbegun());
  }

  push(records: readonly KafkaRecord[]): void {
    if (this.state !== 'running') return;
    for (const record of records) {
      // Its other handlers are added once it is routed.
      this.tracker.add(record.offset, 1, record.leaderEpoch);
      this.sequences.push(record);
    }
    this.balance();
    this.gather();
  }

  /** A letter, for `letters`. */
  pushFront(record: KafkaRecord, deliveries: readonly Delivery[]): void {
    this.sequences.pushFront(record, deliveries);
    this.gather();
  }

  /** The broker has stored `offset` as this partition's. */
  committed(offset: bigint): void {
    this.resource?.doneBelow(offset);
  }

  /** Ends the handlers that run, commits, and takes nothing new. Resolves when that is done and acknowledged. */
  async drain(): Promise<void> {
    if (this.state === 'running') this.state = 'draining';
    this.ending.abort();
    this.pause.end();
    await this.idle();
    await this.settlements.idle();
  }

  /** Aborts what runs and rolls it back. Resolves when nothing is left but what a handler refuses to end. */
  async stop(): Promise<void> {
    this.state = 'stopped';
    this.ending.abort();
    this.pause.end();
    const reason = new StaleMemberError(
      `${partitionName(this.partition)} is no longer assigned to this consumer`,
    );
    for (const run of this.runs) run.stop(reason);
    this.settlements.abortStreams(reason);
    await this.idle();
  }

  get isRunning(): boolean {
    return this.state === 'running';
  }

  get signal(): AbortSignal {
    return this.ending.signal;
  }

  lose(): void {
    this.state = 'stopped';
  }

  settle(attempt: Attempt, afterwards: Promise<void> | undefined): void {
    this.events.succeeded(attempt);
    this.settlements.settle(attempt, afterwards);
  }

  mayGoOn(): boolean {
    return this.isRunning && !this.pause.released;
  }

  parked(): void {
    this.letters.wake();
  }

  began(delivery: Delivery): void {
    delivery.runs++;
    this.events.called(delivery);
    if (delivery.letter) return;
    if (delivery.record.offset >= this.reached) this.reached = delivery.record.offset + 1n;
  }

  /** Has groups taken for as long as records are ready, one after the other, each in a slot of its own. */
  private gather(): void {
    if (this.gathering || !this.isRunning || !this.sequences.hasReady) return;
    this.gathering = true;
    this.track(
      this.gatherNext().finally(() => {
        this.gathering = false;
        this.gather();
      }),
    );
  }

  /** Takes as late as it can: by then more may be ready. */
  private async gatherNext(): Promise<void> {
    const { gate, slots } = this.context;
    if (!gate.isOpen) await gate.opened(this.signal);
    if (this.pause.released) await this.pause.released;
    if (!this.isRunning || !(await slots.acquire(this.signal))) return;
    const trial = gate.isOpen || !this.mayGoOn() ? undefined : gate.trial();
    if (!this.mayGoOn() || !(gate.isOpen || trial)) return slots.release();
    const { records, each } = trial ? ONE_RECORD : this.pace.next();
    this.track(this.work(this.sequences.take(records, each), trial));
  }

  /** Works on what was taken until it is given back, in a slot that it releases. */
  private async work(entries: readonly Entry[], trial: Trial | undefined): Promise<void> {
    const waits = new Map<Sequence, Promise<void>[]>(entries.map(({ sequence }) => [sequence, []]));
    const wait = (sequence: Sequence, until: Promise<void>) => waits.get(sequence)!.push(until);
    const { failures, stragglers } = await this.run(entries, waits.size > 1);
    for (const failure of failures) {
      const held = sequencesOf(failure.undone, entries);
      const recovered = this.recover(failure, held);
      for (const sequence of held) wait(sequence, recovered);
    }
    // Whatever else became of it: what closed the gate would have closed it again.
    trial?.end();
    const left = stragglers.map(({ delivery, ended }) => {
      const [sequence] = sequencesOf([delivery], entries);
      sequence!.slow = true;
      wait(
        sequence!,
        ended.then((failure) => failure && this.recover(failure, [sequence!])),
      );
      return ended;
    });
    for (const [sequence, until] of waits) {
      if (until.length > 0) this.track(Promise.all(until).then(() => this.giveBack(sequence)));
      else this.giveBack(sequence);
    }
    // A handler that goes on without its group is still at work.
    if (left.length > 0) await Promise.all(left);
    this.context.slots.release();
  }

  /** Runs what was taken as one group. */
  private async run(entries: readonly Entry[], mayLeave: boolean): Promise<GroupOutcome> {
    for (const entry of entries) {
      if (entry.deliveries) continue;
      const routed = this.route(entry);
      if (routed !== true && !(await routed)) return NOTHING;
    }
    const { clock, options } = this.context;
    const chains = chainsOf(entries, options.groupCommit.concurrent);
    const group = new Group(chains.flat(), this.context, this.order, this.tracker);
    const run = new GroupRun(this.context, this.pace, this, group, chains);
    const began = clock.monotonic();
    this.runs.add(run);
    const outcome = await run.run(mayLeave);
    if (!group.deliveries[0]?.letter) this.resource ??= group.enlisted;
    void Promise.all(outcome.stragglers.map(({ ended }) => ended)).then(() => this.runs.delete(run));
    const [{ sequence }] = entries as [Entry];
    if (sequence.slow) sequence.slow = clock.monotonic() - began > this.pace.limitMillis;
    return outcome;
  }

  /** Finds the handlers of a record; resolves with `false` if the partition goes away meanwhile. */
  private route(entry: Entry): boolean | Promise<boolean> {
    const found = this.context.route(entry.record);
    if (!isPromise(found)) return this.routed(entry, found);
    return unlessAborted(found, this.signal).then(
      (routes) => routes !== undefined && this.routed(entry, routes),
    );
  }

  private routed(entry: Entry, routes: readonly Route[]): true {
    const { record } = entry;
    const seenBefore = hasBegun(this.before, record.offset);
    if (routes.length > 1) this.tracker.add(record.offset, routes.length - 1);
    entry.deliveries = routes.map((route) => newDelivery(route, record, this.partition, seenBefore));
    return true;
  }

  /** Does what a failure asks for. Resolves when the sequences that it holds may go on. */
  private async recover(failure: GroupFailure, held: Iterable<Sequence>): Promise<void> {
    if (!this.isRunning) return;
    const failureClass = this.context.classify(failure.error);
    if (isNobodysFault(failureClass)) {
      let round = 0;
      for (const sequence of held) round = Math.max(round, ++sequence.interruptions);
      if (failureClass === 'contention' && failure.undone.length > 1) this.pace.keepApart();
      return this.failures.interrupted(failure, failureClass, round);
    }
    if (failure.undone.length === 1) return this.failures.conclude(failure, failureClass);
    // Who is to blame is only certain when it runs by itself: nothing is counted yet.
    for (const delivery of failure.suspects) delivery.alone = true;
  }

  private giveBack(sequence: Sequence): void {
    this.sequences.giveBack(sequence);
    this.balance();
    this.gather();
  }

  private track(work: Promise<void>): void {
    this.working.add(work);
    void work.finally(() => this.working.delete(work));
  }

  private async idle(): Promise<void> {
    while (this.working.size > 0) await Promise.all(this.working);
  }

  private balance(): void {
    if (this.isRunning) this.pause.balance(this.tracker.size, this.sequences.bytes, this.tracker.span);
  }
}

const ONE_RECORD = { records: 1, each: 1 };
const NOTHING: GroupOutcome = { failures: [], stragglers: [] };
