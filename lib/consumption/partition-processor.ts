import type { AssignedPartition } from '../driver/driver.js';
import { StaleMemberError } from '../errors/errors.js';
import { describeError } from '../errors/describe-error.js';
import { partitionName, type KafkaRecord } from '../messages/record.js';
import { isPromise } from '../runtime/is-promise.js';
import { sleep } from '../runtime/clock.js';
import { unlessAborted } from '../runtime/unless-aborted.js';
import { newDelivery, type Attempt, type Delivery } from './attempt.js';
import { decide, type FailureClass } from './decision.js';
import { DeliveryEvents } from './delivery-events.js';
import type { EngineContext } from './engine-context.js';
import { GroupRunner, type GroupFailure } from './group-runner.js';
import type { Ending } from './group.js';
import { OffsetTracker } from './offset-tracker.js';
import { PartitionPause } from './partition-pause.js';
import { RecordQueue } from './record-queue.js';
import { retryAfter } from './retry-after.js';
import { delayWithin, PROBE_BACKOFF, retryDelay } from './retry-policy.js';
import { Settlements } from './settlements.js';

/**
 * - `running`: takes records and works on them.
 * - `draining`: takes nothing new; ends the handler that runs, commits, and is idle.
 * - `stopped`: what runs is aborted and rolled back.
 */
type State = 'running' | 'draining' | 'stopped';

/**
 * Works on one partition for as long as it is assigned: in order, in groups, a failing record by itself. The way of a
 * record through here is `push → take → run → settle → tracker`; there is no way back but a rollback, after which the
 * same deliveries run again.
 */
export class PartitionProcessor {
  private state: State = 'running';
  private readonly queue = new RecordQueue();
  private readonly tracker: OffsetTracker;
  private readonly runner: GroupRunner;
  /** Ends waits when the partition goes away. */
  private readonly ending = new AbortController();
  private working: Promise<void> | undefined;
  private readonly settlements: Settlements;
  private readonly events: DeliveryEvents;
  /** Where others have the work on this partition rest. */
  readonly pause: PartitionPause;

  /** @param reached above every record that a handler was called for in this process. */
  constructor(
    readonly partition: AssignedPartition,
    private readonly context: EngineContext,
    public reached: bigint,
  ) {
    this.pause = new PartitionPause(partition, context);
    this.tracker = new OffsetTracker(partition.startOffset);
    this.settlements = new Settlements(this.tracker, context.log, () => {
      context.completed();
      this.balance();
    });
    this.events = new DeliveryEvents(context.groupId, context.clock);
    this.runner = new GroupRunner(
      context,
      (attempt, afterwards) => {
        this.events.succeeded(attempt);
        this.settlements.settle(attempt, afterwards);
      },
      () => this.state === 'running' && !this.pause.released,
      (delivery) => this.began(delivery),
    );
  }

  /** The offset to commit: every record below is done and acknowledged. */
  get position(): bigint {
    return this.tracker.position;
  }

  push(records: readonly KafkaRecord[]): void {
    if (this.state !== 'running') return;
    this.queue.push(records);
    this.balance();
    this.working ??= this.work();
  }

  /** Ends the handler that runs, commits, and takes nothing new. Resolves when that is done and acknowledged. */
  async drain(): Promise<void> {
    if (this.state === 'running') this.state = 'draining';
    this.ending.abort();
    this.pause.end();
    await this.working;
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
    this.runner.stop(reason);
    this.settlements.abortStreams(reason);
    await this.working;
  }

  private async work(): Promise<void> {
    while (this.state === 'running' && this.queue.length > 0) {
      await this.context.gate.opened(this.ending.signal);
      if (this.state !== 'running') break;
      if (this.pause.released) await this.pause.released;
      else await this.process(await this.take());
      this.balance();
    }
    this.working = undefined;
  }

  /** The next deliveries that may share a group; fewer where handlers are slow. */
  private async take(): Promise<Delivery[]> {
    const deliveries: Delivery[] = [];
    for (const record of this.queue.take(this.runner.fitting)) {
      const found = this.context.route(record);
      const routes = isPromise(found) ? await unlessAborted(found, this.ending.signal) : found;
      if (!routes) return [];
      const seenBefore = record.offset < this.reached;
      this.tracker.add(record.offset, routes.length);
      for (const route of routes) deliveries.push(newDelivery(route, record, this.partition, seenBefore));
    }
    return deliveries;
  }

  /** Runs deliveries until each is settled: together while that works, by themselves once they failed together. */
  private async process(deliveries: readonly Delivery[]): Promise<void> {
    const alone = new Set<Delivery>();
    let rest = deliveries;
    let interruptions = 0;
    while (this.state === 'running' && rest.length > 0) {
      if (this.pause.released) {
        await this.pause.released;
        continue;
      }
      const failure = await this.runner.run(groupable(rest, alone), this.ending.signal);
      rest = rest.filter(({ settled }) => !settled);
      if (!failure) {
        interruptions = 0;
        continue;
      }
      if (this.state !== 'running') return;
      const failureClass = this.context.classify(failure.error);
      if (failureClass === 'infrastructure') {
        await this.hold(failure, ++interruptions);
      } else if (failureClass === 'contention') {
        if (failure.undone.length > 1) this.runner.keepApart();
        for (const delivery of failure.undone) alone.add(delivery);
        await this.wait(retryDelay(PROBE_BACKOFF, ++interruptions, this.context.clock));
      } else if (failureClass === 'fenced') {
        await this.confirmMembership(++interruptions);
      } else if (failure.undone.length > 1) {
        // Who is to blame is only certain when it runs by itself: nothing is counted yet.
        for (const delivery of failure.suspects) alone.add(delivery);
      } else {
        await this.conclude(failure, failureClass);
        rest = rest.filter(({ settled }) => !settled);
      }
    }
  }

  /** Waits until what is down is up. Only a shared resource stops the other partitions too. */
  private async hold({ attempt, error }: GroupFailure, round: number): Promise<void> {
    const { resource } = attempt;
    if (resource) {
      this.context.gate.close(describeError(error), () => resource.probe());
      await this.context.gate.opened(this.ending.signal);
      if (round === 1) return;
      // The resource says that all is well, and still it fails: something else that the handler needs is down.
    }
    await this.wait(retryDelay(PROBE_BACKOFF, round, this.context.clock));
  }

  /** Fenced: whoever is no longer a member ends here; a member goes on, under the next epoch. */
  private async confirmMembership(round: number): Promise<void> {
    const member = await this.context.confirmMembership().catch(() => undefined);
    if (member === false) this.state = 'stopped';
    else if (member === undefined || round > 1)
      await this.wait(retryDelay(PROBE_BACKOFF, round, this.context.clock));
  }

  /** Decides about a delivery that failed by itself, and does it. */
  private async conclude(failure: GroupFailure, failureClass: FailureClass): Promise<void> {
    const { attempt, error } = failure;
    const { delivery } = attempt;
    const { clock, log, options } = this.context;
    delivery.failures++;
    if (!attempt.resource) attempt.enlistLate?.();
    delivery.firstFailure ??= clock.now();
    if (failure.swallowed && failureClass !== 'infrastructure') {
      return this.end(attempt, {
        state: delivery.kind === 'request' ? 'failed' : 'skipped',
        reason: 'filtered',
        error,
      });
    }
    const left = (options.retry.deadline ?? Infinity) - (clock.now() - delivery.firstFailure);
    const wanted = retryAfter(error, clock);
    const decision = decide({
      failureClass,
      kind: delivery.kind,
      failures: delivery.failures,
      attempts: options.retry.attempts,
      overdue: (wanted ?? 0) >= left,
      onExhausted: options.onExhausted,
      filtered: attempt.filtered,
      hasPlaceForDead: attempt.resource !== undefined || this.context.hasDeadLetterTopic,
    });
    const what = `${delivery.handler.name} failed at ${partitionName(this.partition)} offset ${delivery.record.offset}`;
    const why = describeError(error);
    const again = decision === 'retry' || decision === 'block';
    const delay = again
      ? (wanted ?? delayWithin(left, retryDelay(options.retry, delivery.failures, clock)))
      : undefined;
    this.events.failed(delivery, error, decision, delay);
    switch (decision) {
      case 'retry':
      case 'block': {
        if (attempt.resource) this.context.counters.retried++;
        if (delivery.failures === 1) log.warn(`${what}, it is tried again: ${why}`);
        if (decision === 'block' && delivery.failures === options.retry.attempts) {
          log.error(`${what} ${delivery.failures} times and holds its partition until it succeeds: ${why}`);
        }
        await attempt.resource?.noteFailure(attempt, error);
        return this.wait(delay!);
      }
      case 'answer':
        attempt.replies.push(failure.answer ?? this.context.errorReply(error));
        return this.end(attempt, { state: 'failed', reason: 'answered', error });
      case 'dead-letter': {
        const reason = failureClass === 'terminal' ? this.context.reasonOf(error) : 'exhausted';
        log.error(`${what} ${delivery.failures} times, it is dead (${reason}): ${why}`);
        return this.end(attempt, { state: 'dead', reason, error });
      }
      case 'skip':
        log.error(`${what} and was skipped: ${why}. Set the option "deadLetter" to keep such records.`);
        this.events.ended(delivery, { state: 'skipped', reason: this.context.reasonOf(error), error });
        return this.settlements.settle(attempt, undefined);
      case 'hold':
      case 'refence':
        throw new Error(`A delivery cannot be concluded by "${decision}"`);
    }
  }

  /** Writes the ending down, however long that takes, and lets the delivery go. */
  private async end(attempt: Attempt, ending: Ending): Promise<void> {
    for (let round = 1; this.state === 'running'; round++) {
      try {
        const after = attempt.resource
          ? await attempt.resource.conclude(attempt, ending)
          : await this.context.concludeWithoutResource(attempt, ending);
        this.events.ended(attempt.delivery, ending);
        return this.settlements.settle(attempt, after?.());
      } catch (error) {
        if (round === 1) {
          this.context.log.warn(
            `${partitionName(this.partition)} waits to write an ending down: ${describeError(error)}`,
          );
        }
        if (this.context.classify(error) === 'fenced') await this.confirmMembership(round);
        else await this.wait(retryDelay(PROBE_BACKOFF, round, this.context.clock));
      }
    }
  }

  private began(delivery: Delivery): void {
    delivery.runs++;
    this.events.called(delivery);
    if (delivery.record.offset >= this.reached) this.reached = delivery.record.offset + 1n;
  }

  private wait(milliseconds: number): Promise<void> {
    return sleep(this.context.clock, milliseconds, this.ending.signal);
  }

  private balance(): void {
    if (this.state === 'running') this.pause.balance(this.queue.length + this.tracker.size, this.queue.bytes);
  }
}

/** The longest run from the start that may share a group. */
function groupable(rest: readonly Delivery[], alone: ReadonlySet<Delivery>): readonly Delivery[] {
  if (alone.size === 0) return rest;
  if (alone.has(rest[0]!)) return rest.slice(0, 1);
  const end = rest.findIndex((delivery) => alone.has(delivery));
  return end < 0 ? rest : rest.slice(0, end);
}
