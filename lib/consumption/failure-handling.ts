import type { AssignedPartition } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import { partitionName } from '../messages/record.js';
import { sleep } from '../runtime/clock.js';
import type { Attempt } from './attempt.js';
import { decide, type FailureClass } from './decision.js';
import type { DeliveryEvents } from './delivery-events.js';
import type { EngineContext } from './engine-context.js';
import type { GroupFailure } from './group-run.js';
import type { Ending, GroupResource } from './group.js';
import type { LetterOrder } from './letter.js';
import { retryAfter } from './retry-after.js';
import { delayWithin, PROBE_BACKOFF, retryDelay } from './retry-policy.js';
import type { Settlements } from './settlements.js';

/** How long the work on a partition goes on. */
export interface PartitionLife {
  readonly isRunning: boolean;
  /** Ends waits when it is over. */
  readonly signal: AbortSignal;
  /** Something of the partition was parked. */
  parked(): void;
  /** The partition is somebody else's. */
  lose(): void;
}

/** Sees to what follows a failure, until the deliveries that it undid may run again or are settled. */
export class FailureHandling {
  private confirming: Promise<boolean | undefined> | undefined;
  private crowded = false;

  constructor(
    private readonly partition: AssignedPartition,
    private readonly context: EngineContext,
    private readonly settlements: Settlements,
    private readonly events: DeliveryEvents,
    private readonly life: PartitionLife,
  ) {}

  /**
   * After a failure that is nobody's fault: nothing is counted.
   *
   * @param round 1 for the first in a row.
   */
  async interrupted(failure: GroupFailure, failureClass: FailureClass, round: number): Promise<void> {
    if (failureClass === 'infrastructure') return this.hold(failure, round);
    if (failureClass === 'fenced') return this.confirmMembership(round);
    if (failureClass === 'crowded') this.warnCrowded(failure.error);
    for (const delivery of failure.undone) delivery.alone = true;
    return this.backOff(round);
  }

  /** Decides about a delivery that failed by itself, and does it. */
  async conclude(failure: GroupFailure, failureClass: FailureClass): Promise<void> {
    const { attempt, error } = failure;
    const { delivery } = attempt;
    const { clock, log, options } = this.context;
    if (!attempt.resource) this.context.enlistLate?.(attempt);
    const order = delivery.letter?.order;
    if (order && attempt.resource) return this.obey(attempt, order);
    delivery.failures++;
    delivery.firstFailure ??= clock.now();
    if (failure.swallowed) {
      const state = delivery.kind === 'request' ? 'failed' : 'skipped';
      await this.end(attempt, { state, reason: 'filtered', error });
      return;
    }
    // Without it there is no way to take the letter out of its line.
    if (delivery.letter && !attempt.resource) return this.postpone(attempt, error);
    const left = (options.retry.deadline ?? Infinity) - (clock.now() - delivery.firstFailure);
    const wanted = retryAfter(error, clock);
    const decision = decide({
      failureClass,
      kind: delivery.kind,
      failures: delivery.failures,
      attempts: options.retry.attempts,
      overdue: (wanted ?? 0) >= left,
      onExhausted: options.onExhausted,
      isLetter: delivery.letter !== undefined,
      canBeParked: attempt.resource !== undefined,
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
          const held = options.ordering === 'partition' ? 'partition' : 'key';
          log.error(`${what} ${delivery.failures} times and holds its ${held} until it succeeds: ${why}`);
        }
        await attempt.resource?.noteFailure(attempt, error);
        return this.wait(delay!);
      }
      case 'answer':
        attempt.replies.push(failure.answer ?? this.context.errorReply(error));
        await this.end(attempt, { state: 'failed', reason: 'answered', error });
        return;
      case 'dead-letter': {
        const reason = failureClass === 'terminal' ? this.context.reasonOf(error) : 'exhausted';
        log.error(`${what} ${delivery.failures} times, it is dead (${reason}): ${why}`);
        await this.end(attempt, { state: 'dead', reason, error });
        return;
      }
      case 'park':
        log.error(
          `${what} ${delivery.failures} times and is parked, with what comes behind it under its key: ${why}`,
        );
        return this.park(attempt, error);
      case 'postpone':
        return this.postpone(attempt, error);
      case 'skip':
        log.error(`${what} and was skipped: ${why}. Set the option "deadLetter" to keep such records.`);
        this.events.ended(delivery, { state: 'skipped', reason: this.context.reasonOf(error), error });
        return this.settlements.settle(attempt, undefined);
      case 'hold':
      case 'refence':
        throw new Error(`A delivery cannot be concluded by "${decision}"`);
    }
  }

  /** Parks a record; where there is no room, it is tried again in its place. */
  private async park(attempt: Attempt, error: unknown): Promise<void> {
    const { delivery } = attempt;
    const { classify, clock, options } = this.context;
    const isCrowded = (problem: unknown) => classify(problem) === 'crowded';
    const crowded = await this.end(attempt, { state: 'parked', reason: 'exhausted', error }, isCrowded);
    if (crowded === undefined) return this.life.parked();
    this.warnCrowded(crowded);
    await attempt.resource!.noteFailure(attempt, error);
    return this.wait(retryDelay(options.retry, delivery.failures, clock));
  }

  /** Has a parked record that failed again wait for its next try. */
  private async postpone(attempt: Attempt, error: unknown): Promise<void> {
    const { delivery } = attempt;
    const { groupId, log, parking } = this.context;
    await this.insist('have a parked record wait', attempt.resource, async () => {
      const postponed = await parking!.postpone(groupId, delivery, error);
      if (postponed === 'held') {
        this.events.parked(delivery, 'held');
        log.error(
          `${delivery.handler.name} failed ${delivery.failures} times at the parked record of ` +
            `${partitionName(this.partition)} offset ${delivery.record.offset}: it is held until an operator has it ` +
            `retried, skipped or dropped (DurableLedger): ${describeError(error)}`,
        );
      }
      this.settlements.settle(attempt, undefined);
    });
  }

  private async obey(attempt: Attempt, { state, reason }: LetterOrder): Promise<void> {
    const { delivery } = attempt;
    this.context.log.log(
      `The parked record of ${partitionName(this.partition)} offset ${delivery.record.offset} is ${state}, as an operator wants`,
    );
    const error = Object.assign(new Error(reason), { name: 'OperatorOrder' });
    await this.end(attempt, { state, reason: 'operator', error });
  }

  /** Once: who is told once too many does not listen. */
  private warnCrowded(error: unknown): void {
    if (!this.crowded) this.context.log.warn(describeError(error));
    this.crowded = true;
  }

  /**
   * Writes the ending down, however long that takes, and lets the delivery go; unless it meets an error to give up at,
   * which it resolves with.
   */
  private end(
    attempt: Attempt,
    ending: Ending,
    givesUpAt: (error: unknown) => boolean = () => false,
  ): Promise<unknown> {
    return this.insist(
      'write an ending down',
      attempt.resource,
      async () => {
        const after = attempt.resource
          ? await attempt.resource.conclude(attempt, ending)
          : await this.context.concludeWithoutResource(attempt, ending);
        this.events.ended(attempt.delivery, ending);
        this.settlements.settle(attempt, after?.());
      },
      givesUpAt,
    );
  }

  /** Does something again and again until it succeeds, or the partition goes away. */
  private async insist(
    what: string,
    resource: GroupResource | undefined,
    work: () => Promise<void>,
    givesUpAt: (error: unknown) => boolean = () => false,
  ): Promise<unknown> {
    for (let round = 1; this.life.isRunning; round++) {
      try {
        return void (await work());
      } catch (error) {
        if (givesUpAt(error)) return error;
        if (round === 1) {
          this.context.log.warn(`${partitionName(this.partition)} waits to ${what}: ${describeError(error)}`);
        }
        const failureClass = this.context.classify(error);
        if (failureClass === 'fenced') {
          await this.confirmMembership(round);
          continue;
        }
        if (!resource) this.context.suspectBroker(error);
        else if (failureClass === 'infrastructure') this.closeGate(resource, error);
        await this.context.gate.opened(this.life.signal);
        await this.backOff(round);
      }
    }
    return undefined;
  }

  /** Waits until what is down is up. Only a shared resource stops the other partitions too. */
  private async hold({ attempt, error }: GroupFailure, round: number): Promise<void> {
    const { resource } = attempt;
    if (resource) {
      this.closeGate(resource, error);
      await this.context.gate.opened(this.life.signal);
      if (round === 1) return;
      // The resource says that all is well, and still it fails: something else that the handler needs is down.
    }
    await this.backOff(round);
  }

  private closeGate(resource: GroupResource, error: unknown): void {
    this.context.gate.close(describeError(error), () => resource.probe());
  }

  /** Fenced: whoever is no longer a member ends here; a member goes on, under the next epoch. */
  private async confirmMembership(round: number): Promise<void> {
    this.confirming ??= this.context
      .confirmMembership()
      .catch(() => undefined)
      .finally(() => (this.confirming = undefined));
    const member = await this.confirming;
    if (member === false) this.life.lose();
    else if (member === undefined || round > 1) await this.backOff(round);
  }

  private backOff(round: number): Promise<void> {
    return this.wait(retryDelay(PROBE_BACKOFF, round, this.context.clock));
  }

  private wait(milliseconds: number): Promise<void> {
    return sleep(this.context.clock, milliseconds, this.life.signal);
  }
}
