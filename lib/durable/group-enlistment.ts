import type { Attempt, Delivery } from '../consumption/attempt.js';
import type { AfterCommit, Ending, Group, GroupResource } from '../consumption/group.js';
import { FencedError, IdempotencyKeyError, KeyReusedError } from '../errors/errors.js';
import type { Admission } from '../execution/admissions.js';
import type { Execution, LaneWork } from '../execution/prepared-lane.js';
import { ClaimGroup } from '../execution/claim-group.js';
import { ExecutionGroup } from '../execution/execution-group.js';
import type { FenceRegistry } from '../execution/fence-registry.js';
import type { GroupExecutions } from '../execution/group-executions.js';
import type { LeaseKeeper } from '../execution/lease-keeper.js';
import type { ExecutionClaim, KnownExecution, Ledger, OutboxRecord } from '../execution/ledger.js';
import type { LedgerCounters } from '../execution/ledger-counters.js';
import type { OutboxDispatcher } from '../execution/outbox-dispatcher.js';
import { describeKey, fingerprint, positionKey, type IdempotencyKey } from '../messages/idempotency-key.js';
import { encodeReply } from '../messages/packets.js';
import { packReplies, unpackReplies, type EncodedReply } from '../messages/reply.js';
import type { Clock } from '../runtime/clock.js';
import { isPromise } from '../runtime/is-promise.js';
import type { DurableHandler, ExecutionMode } from './durable-metadata.accessor.js';
import type { DurableRun, HandlerRun } from './handler-run.js';
import { laneWork } from './lane-work.js';
import { boundedFacts, park } from './park.js';
import { StepRunner } from './step-runner.js';

/** What a handler is to run in, if it is to run. */
export type Admitted = HandlerRun | undefined;

/** What all enlistments of a process share. */
export interface DurableCore {
  readonly ledger: Ledger;
  readonly fences: FenceRegistry;
  readonly dispatcher: OutboxDispatcher;
  readonly counters: LedgerCounters;
  readonly leases: LeaseKeeper;
  /** Of handlers that say nothing else. */
  readonly mode: ExecutionMode;
  readonly keyHeader: string | false;
  readonly clock: Clock;
}

/** What is kept of a run until the commit. Not the run itself: all that its handler was called through hangs on it. */
interface Begun {
  readonly execution: Execution;
  readonly outbox: readonly OutboxRecord[];
}

/** Where the engine's group and the ledger's meet: enlisted by the interceptor, driven by the engine. */
export class GroupEnlistment implements GroupResource {
  readonly isolates: boolean;
  preparation = 0;
  private readonly executions: GroupExecutions;
  private readonly works = new Map<string, LaneWork>();
  private readonly letters = new Map<Delivery, OutboxRecord | undefined>();
  private readonly runs = new Map<Attempt, Begun>();

  constructor(
    private readonly group: Group,
    private readonly core: DurableCore,
    readonly mode: ExecutionMode,
  ) {
    const { ledger, fences, leases } = core;
    this.isolates = mode === 'claim';
    this.executions = this.isolates
      ? new ClaimGroup(ledger, fences, leases, (outbox) => void this.dispatch(outbox).catch(() => undefined))
      : new ExecutionGroup(ledger, fences, group.order.isConcurrent);
    core.counters.include(group.host.counters);
  }

  /**
   * What the handler is to run in, or `undefined` if it must not run: then `attempt.replayed` holds the replies of the
   * execution that counts, or `attempt.postponed` says that there is none yet. Not a promise where nothing has to be asked.
   */
  admit(attempt: Attempt, handler: DurableHandler): Admitted | Promise<Admitted> {
    const work = this.workOf(attempt.delivery, handler);
    const admission = this.executions.admit(work, attempt.delivery.record);
    if (!isPromise(admission)) return this.admitted(work, attempt, admission);
    const { clock } = this.core;
    const asked = clock.monotonic();
    return admission.then((found) => {
      this.preparation ||= clock.monotonic() - asked;
      return this.admitted(work, attempt, found);
    }, this.countFenced);
  }

  private admitted(work: LaneWork, attempt: Attempt, admission: Admission): Admitted | Promise<Admitted> {
    this.recallFailures(work, attempt.delivery);
    if (admission.kind === 'parked') {
      attempt.isParked = true;
      attempt.replayed = [];
      return undefined;
    }
    if (admission.kind === 'run') return this.start(attempt, work, admission.execution);
    let replies: readonly EncodedReply[] | undefined;
    if (admission.kind === 'repeated') {
      const first = this.group.done.find(
        (done) => done.delivery.record === admission.of && this.isOf(work, done),
      );
      // Where handlers run at once, it may not have begun, and may never.
      if (!first) {
        attempt.postpone();
        return undefined;
      }
      replies = first.replies;
    } else {
      replies = admission.reply && unpackReplies(admission.reply);
    }
    attempt.isDuplicate = true;
    if (replies?.length || attempt.delivery.kind === 'event') {
      attempt.replayed = replies ?? [];
      return undefined;
    }
    return replyGone().then((reply) => void (attempt.replayed = [reply]));
  }

  isOver({ handler, kind, record }: Delivery): boolean {
    if (kind === 'request') return false;
    const work = this.works.get(handler.name);
    return work !== undefined && this.executions.isOver(work.lane, record);
  }

  /** The attempt's run has returned or thrown, also if the attempt was given up before. */
  returned(attempt: Attempt): void {
    const ran = this.runs.get(attempt);
    if (ran) this.executions.close(ran.execution);
  }

  /** Whether `run` is what the attempt's handler was to run in. */
  isRunOf(attempt: Attempt, run: DurableRun | undefined): boolean {
    return run?.kind === 'handler' && run.owner === attempt;
  }

  /** What an attempt's error, or `undefined` for a success, really means. */
  explain(attempt: Attempt, error: unknown): unknown {
    return this.executions.explain(this.runs.get(attempt)?.execution, error);
  }

  async commit(attempts: readonly Attempt[]): Promise<AfterCommit | undefined> {
    const finished = attempts.flatMap((attempt) => {
      const { record, kind } = attempt.delivery;
      const ran = this.runs.get(attempt);
      const work = this.works.get(attempt.delivery.handler.name);
      if (!work) return [];
      const reply = ran && kind === 'request' ? packReplies(attempt.replies) : undefined;
      return [{ record, lane: work.lane, reply, outbox: ran?.outbox ?? [] }];
    });
    const outbox = await this.executions.commit(finished).catch(this.countFenced);
    const { counters } = this.core;
    for (const attempt of attempts) {
      if (this.runs.has(attempt)) counters.handled++;
      else if (attempt.isParked) counters.parked++;
      else if (this.works.has(attempt.delivery.handler.name)) counters.suppressed++;
      const work = this.works.get(attempt.delivery.handler.name);
      if (work) this.forgetFailures(work, attempt.delivery);
    }
    return this.dispatching(outbox);
  }

  doneBelow(offset: bigint): void {
    const { host, deliveries, progress } = this.group;
    const { topicId, partition } = deliveries[0]!.partition;
    const { leaderEpoch } = progress;
    void this.core.fences.doneBelow({ group: host.groupId, topicId, partition }, offset, leaderEpoch);
  }

  rollback(): Promise<void> {
    return this.executions.rollback();
  }

  async noteFailure({ delivery }: Attempt, error: unknown): Promise<void> {
    const work = this.works.get(delivery.handler.name);
    if (!work) return;
    const { fences } = this.core;
    try {
      const fence = await fences.take(work.lane, work.holder);
      await fences.failures.note(fence, delivery.record.offset, delivery.failures, boundedFacts(error));
    } catch {
      // Whoever cannot take the fence now hears of it when the handler runs again.
    }
  }

  probe(): Promise<void> {
    return this.core.ledger.ping();
  }

  async conclude(attempt: Attempt, ending: Ending): Promise<AfterCommit | undefined> {
    const { delivery } = attempt;
    const work = this.works.get(delivery.handler.name)!;
    const { ledger, fences } = this.core;
    const { letter } = delivery;
    if (ending.state === 'parked') return this.park(work, delivery, ending);
    let execution = this.claimOf(work, delivery, ending);
    const dead = ending.state === 'dead';
    const outbox = dead ? this.letterOf(delivery, ending, execution) : undefined;
    const { timestamp, key, value, headers } = delivery.record;
    const fence = await fences.take(work.lane, work.holder);
    const place = letter && { sequence: letter.sequence, offset: delivery.record.offset };
    const conclusion = {
      fence,
      isShared: work.isShared,
      state: ending.state,
      attempts: delivery.failures,
      error: boundedFacts(ending.error),
      reply: delivery.kind === 'request' ? packReplies(attempt.replies) : null,
      deadLetter: dead ? { reason: ending.reason, timestamp, key, value, headers } : null,
      outbox: outbox ?? null,
      letter: place,
    };
    let known: KnownExecution | undefined;
    try {
      known = await ledger.conclude({ ...conclusion, execution });
      if (known && known.fingerprint !== execution.fingerprint) {
        // Meanwhile another message ended under its key: this one ends under its position.
        execution = claimByPosition(work, delivery);
        known = await ledger.conclude({ ...conclusion, execution });
      }
    } catch (error) {
      if (error instanceof FencedError) fences.forget(fence, error);
      return this.countFenced(error);
    }
    this.countEnding(ending.state, known);
    if (place) {
      // Of one that had ended before, the ledger is to say whether it was still there.
      if (known) fences.forget(fence, undefined);
      else fences.parkingCommitted({ fence, appended: [], removed: [place] });
    } else if (!work.isShared) fences.advance(fence, delivery.record.offset + 1n);
    this.forgetFailures(work, delivery);
    if (!known) return this.dispatching(outbox ? [outbox] : []);
    // A twin elsewhere was handled meanwhile: this one is its duplicate, and nothing of its failure was stored.
    await this.answerAs(work, attempt, execution);
    return undefined;
  }

  private async park(work: LaneWork, delivery: Delivery, { error }: Ending): Promise<undefined> {
    const { parkingPolicy } = this.group.host;
    await park(this.core, parkingPolicy, work, delivery, boundedFacts(error)).catch(this.countFenced);
    this.core.counters.parked++;
    this.forgetFailures(work, delivery);
  }

  /** What was noted of its failures is of no more use: the record has ended. */
  private forgetFailures({ lane }: LaneWork, delivery: Delivery): void {
    if (delivery.failures > 0) this.core.fences.failures.forget(lane, delivery.record.offset);
  }

  /** Goes on counting where an earlier owner of the partition stopped. */
  private recallFailures({ lane }: LaneWork, delivery: Delivery): void {
    const known = this.core.fences.failures.of(lane, delivery.record.offset);
    if (!known || known.failures <= delivery.failures) return;
    delivery.failures = known.failures;
    delivery.firstFailure = known.firstFailure;
  }

  /** One letter for each, one id, however often the ledger has to be asked to take it. */
  private letterOf(delivery: Delivery, ending: Ending, { key }: ExecutionClaim): OutboxRecord | undefined {
    if (!this.letters.has(delivery)) {
      const letter = this.group.host.deadLetter(delivery, ending, describeKey(key));
      const id = this.core.clock.uuid();
      this.letters.set(delivery, letter && { ...letter, id, partition: letter.partition ?? null });
    }
    return this.letters.get(delivery);
  }

  private async answerAs({ lane }: LaneWork, attempt: Attempt, { key }: ExecutionClaim): Promise<void> {
    if (attempt.delivery.kind === 'event') return;
    const stored = (await this.core.ledger.findReplies(lane.scope, [key])).get(key.toString('latin1'));
    if (stored) attempt.replies.splice(0, attempt.replies.length, ...unpackReplies(stored));
  }

  private readonly countFenced = (error: unknown): never => {
    if (error instanceof FencedError) this.core.counters.fenced++;
    throw error;
  };

  private countEnding(state: Ending['state'], known: KnownExecution | undefined): void {
    const { counters } = this.core;
    if (known) counters.suppressed++;
    else if (state === 'failed' || state === 'dead') counters[state]++;
  }

  private dispatching(outbox: readonly OutboxRecord[]): AfterCommit | undefined {
    if (outbox.length === 0) return undefined;
    return () => this.dispatch(outbox);
  }

  private dispatch(outbox: readonly OutboxRecord[]): Promise<void> {
    return this.core.dispatcher.dispatch(outbox, (record) => this.group.host.produce(record));
  }

  private start(attempt: Attempt, work: LaneWork, execution: Execution): HandlerRun {
    const { key } = execution.claim;
    attempt.key = key;
    const opened = this.executions.open(execution, (error) => attempt.cancel(error));
    const { client, outbox } = opened;
    const steps = new StepRunner(opened, this.core.clock, attempt);
    const { handler } = work.lane.scope;
    const number = attempt.number;
    this.runs.set(attempt, { execution, outbox });
    return {
      kind: 'handler',
      owner: attempt,
      handler,
      key,
      attempt: number,
      client,
      outbox,
      open: true,
      steps,
    };
  }

  /** Under its own key where that says who it is; a record whose key is the trouble goes by its position. */
  private claimOf(work: LaneWork, delivery: Delivery, { error }: Ending): ExecutionClaim {
    const { record } = delivery;
    const keyless = error instanceof IdempotencyKeyError || error instanceof KeyReusedError;
    // What was claimed, rather than what a key function would say now.
    const claimed = keyless ? undefined : this.executions.executionOf(work.lane, record)?.claim;
    if (claimed) return claimed;
    const byPosition = claimByPosition(work, delivery);
    return keyless ? byPosition : { ...byPosition, key: keyOr(byPosition.key, () => work.keyOf(record)) };
  }

  /** Per handler: the same record may have an attempt of each. */
  private isOf(work: LaneWork, { delivery }: Attempt): boolean {
    return this.works.get(delivery.handler.name) === work;
  }

  /** Also for an attempt that failed before it was admitted, so that it can be concluded. */
  workOf(delivery: Delivery, handler: DurableHandler): LaneWork {
    let work = this.works.get(handler.id);
    if (!work)
      this.works.set(handler.id, (work = laneWork(this.group, delivery, handler, this.core.keyHeader)));
    return work;
  }
}

async function replyGone(): Promise<EncodedReply> {
  const message = 'This request was handled before, and its reply is no longer stored';
  return encodeReply({ err: { status: 'error', message }, isDisposed: true });
}

/** A record that ends without having been claimed may turn out to have no key. */
function claimByPosition({ lane }: LaneWork, { record }: Delivery): ExecutionClaim {
  const { partition, offset } = record;
  const { encoded: key } = positionKey(lane.topicId, partition, offset);
  return { key, fingerprint: fingerprint(record), offset };
}

function keyOr(otherwise: Buffer, key: () => IdempotencyKey): Buffer {
  try {
    return key().encoded;
  } catch (error) {
    if (error instanceof IdempotencyKeyError) return otherwise;
    throw error;
  }
}
