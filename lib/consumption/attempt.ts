import type { AssignedPartition } from '../driver/driver.js';
import type { EncodedReply } from '../messages/reply.js';
import type { KafkaRecord } from '../messages/record.js';
import type { Group, GroupResource } from './group.js';
import type { Letter } from './letter.js';

/** What the engine runs for a record. The transport makes one per Nest handler. */
export interface DeliveryHandler {
  /** For log lines and dead letters: the pattern until the handler's real name is known, then `Class.method`. */
  name: string;
  /**
   * Runs the handler once. Never throws: a failure is a result. Calls `end` when the handler is done, or, for a request
   * that is not enlisted in its group, at its first reply (`attempt.streaming` then settles at the last). A callback, since
   * each promise on the way of a record costs more where an `AsyncLocalStorage` is in use, as it is there.
   */
  run(attempt: Attempt, end: (result: AttemptResult) => void): void;
}

/** Where a record goes: one route per handler of its topic. */
export interface Route {
  readonly handler: DeliveryHandler;
  /** Requests are answered, events are not. */
  readonly kind: 'event' | 'request';
  /** The stable names of what this may be, where that is known: records are parked under them. */
  readonly names?: readonly string[] | undefined;
}

/** A record on its way through one handler, across all its attempts in this process. */
export interface Delivery extends Route {
  readonly record: KafkaRecord;
  readonly partition: AssignedPartition;
  /** Attempts that ended in a failure of the handler itself. */
  failures: number;
  /** Time of the first of them, ms since the epoch. */
  firstFailure: number | undefined;
  /** Runs of the handler so far, also those that were undone and not counted. */
  runs: number;
  /** This process ran a handler for the record before, the last time that it held the partition. */
  readonly seenBefore: boolean;
  /** It failed together with others, or kept them waiting: it shares no group until it is settled. */
  alone: boolean;
  /** It was parked, and is tried again: its offset is done with. */
  readonly letter?: Letter | undefined;
  /** Handled to the end; only its replies and its offset may still be on their way. */
  settled: boolean;
}

export function newDelivery(
  { handler, kind }: Route,
  record: KafkaRecord,
  partition: AssignedPartition,
  seenBefore: boolean,
): Delivery {
  return {
    handler,
    kind,
    record,
    partition,
    failures: 0,
    firstFailure: undefined,
    runs: 0,
    seenBefore,
    alone: false,
    settled: false,
  };
}

export type AttemptResult = { readonly failed: false } | AttemptFailure;

export interface AttemptFailure {
  readonly failed: true;
  /** As the handler threw it where that is known, else as the exception filters left it. */
  readonly error: unknown;
  /** A request's error reply, ready to go out. */
  readonly answer?: EncodedReply | undefined;
}

export const succeeded: AttemptResult = { failed: false };

/**
 * Sends a reply on its way. Resolves with `true` when the broker has acknowledged it, with `false` if the transport
 * closed before. Never rejects.
 */
export type ReplyPublisher = (delivery: Delivery, reply: EncodedReply) => Promise<boolean>;

/**
 * One run of a handler for a delivery. Replies given during the attempt go out at once, or, if the attempt is enlisted
 * in its group, when the group has committed.
 */
export class Attempt {
  /** What the handler threw, before exception filters turned it into something else. */
  thrown: { readonly error: unknown } | undefined;
  /**
   * An exception filter counts the failures of this record: it wants it tried again, however often it failed, or wants
   * a request answered now, also if its error asks for another try.
   */
  filtered: 'retry' | 'answer' | undefined;
  /** What it threw is the consequence of what another run of its group did. Set with `thrown`. */
  blameless = false;
  /** The idempotency key, encoded, once durable execution knows it. */
  key: Buffer | undefined;
  /** This process ran the handler for the record before: it failed, was undone, or its partition came back. */
  readonly redelivered: boolean;
  private whenAborted: (() => void) | undefined;
  /** Set when an interceptor enlisted this attempt; the handler's success then hangs on the group's commit. */
  resource: GroupResource | undefined;
  /** What an earlier execution replied: goes out instead of anything that the handler returns. */
  replayed: readonly EncodedReply[] | undefined;
  /** The handler does not run: the record was handled before. Set with `replayed` by the interceptor. */
  isDuplicate = false;
  /** The handler does not run: the record queues behind a parked one of its key. Set with `replayed`. */
  isParked = false;
  /** Replies held back until the group has committed. */
  readonly replies: EncodedReply[] = [];
  /** Replies under way. */
  readonly published: Promise<boolean>[] = [];
  /** Settles at the last reply of a stream that went on after `run` resolved. */
  streaming: Promise<void> | undefined;
  private isPostponed = false;
  private controller: AbortController | undefined;
  private cancelled: { readonly reason: unknown } | undefined;
  private aborted = false;

  constructor(
    readonly delivery: Delivery,
    readonly group: Group,
    private readonly publish: ReplyPublisher,
  ) {
    this.redelivered = delivery.runs > 0 || delivery.seenBefore;
  }

  /** 1 for the first run, plus the failures so far. */
  get number(): number {
    return this.delivery.failures + 1;
  }

  /** A failure of this attempt undoes nobody else's work: it is its own, and counted. */
  get isAlone(): boolean {
    return this.resource === undefined || this.resource.isolates || this.group.isUndoneAlone(this);
  }

  get postponed(): boolean {
    return this.isPostponed;
  }

  /**
   * Called by an interceptor that cannot enlist the attempt beside what its group has enlisted, or where another delivery
   * of the group has to be done first: the handler does not run, and the delivery is taken again for a later group.
   */
  postpone(): void {
    this.isPostponed = true;
    this.replayed = [];
  }

  /** Aborts at `handlerTimeout`, at the loss of the partition and at the end of `shutdownTimeout`. */
  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.cancelled) this.controller.abort(this.cancelled.reason);
    }
    return this.controller.signal;
  }

  /** Tells the handler, by its signal, that its work is not wanted any more, and waits for it to end all the same. */
  cancel(reason: unknown): void {
    this.cancelled ??= { reason };
    this.controller?.abort(reason);
  }

  /** Gives the attempt up: its replies go nowhere from now on, and nobody waits for its end. */
  abort(reason?: unknown): void {
    this.disown(reason);
    this.whenAborted?.();
    this.whenAborted = undefined;
  }

  /** The attempt's work is undone: its replies go nowhere from now on. It is waited for all the same. */
  disown(reason?: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.cancel(reason);
  }

  /** Has `listener` called when the attempt is given up. One listener; cheaper than `signal`. */
  onAbort(listener: () => void): void {
    if (this.aborted) listener();
    else this.whenAborted = listener;
  }

  /** Its run has ended. Lets go of what that was called with, which would otherwise live until the group has committed. */
  ended(): void {
    if (!this.streaming) this.whenAborted = undefined;
  }

  reply(reply: EncodedReply): void {
    if (this.aborted) return;
    if (this.resource) this.replies.push(reply);
    else this.published.push(this.publish(this.delivery, reply));
  }

  /** Lets go of what was held back. */
  release(): void {
    for (const reply of this.replies) this.published.push(this.publish(this.delivery, reply));
  }
}
