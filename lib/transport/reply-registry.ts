import { ReplyTimeoutError } from '../errors/errors.js';
import { CORRELATION_ID_HEADER } from '../messages/nest-headers.js';
import { replyIndex, type ReplyPacket } from '../messages/packets.js';
import { headerValue, type KafkaRecord, type TopicPartition } from '../messages/record.js';
import type { Clock, Timer } from '../runtime/clock.js';
import { deferred, type Deferred } from '../runtime/deferred.js';
import { isPromise } from '../runtime/is-promise.js';
import type { Log } from '../runtime/log.js';

/** What a request tells the registry before it is sent. */
export interface RequestEntry {
  readonly correlationId: string;
  /** The request's topic, for error messages. */
  readonly topic: string;
  /** Where its reply must come from; a reply from another topic is forged. */
  readonly replyTopic: string;
  /** Called in order: once per value, and for the end or the error, after which it is never called again. */
  readonly callback: (packet: ReplyPacket) => void;
  /** Makes the error of a timeout. Default: `ReplyTimeoutError`. */
  readonly timeoutError?: ((isSent: boolean) => Error) | undefined;
}

/** Replies that reached nobody, since the client was made. */
export interface UnclaimedReplies {
  /** To a request that had ended already: answered before, timed out, or unsubscribed. */
  late: number;
  /** To no request that is remembered, for example one of an earlier process, or without a correlation id. */
  unknown: number;
  /** From another topic than the one the request named. */
  forged: number;
}

interface Pending extends RequestEntry {
  /** Where its reply is to come from, as soon as it is sent. */
  partition: number | undefined;
  deadline: number;
  nextIndex: number;
  /** Set while a deserializer that returns promises is at work on earlier replies. */
  earlier: Promise<void> | undefined;
}

/** Somebody who waits until these requests have settled. */
interface Waiting {
  readonly correlationIds: Set<string>;
  readonly over: Deferred<void>;
}

/** At least so many correlation ids are remembered after their request has ended, to tell late replies from unknown. */
const REMEMBERED = 4_096;
/** Timers take no more than a signed 32-bit number of milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * The requests that wait for replies. Each settles exactly once: by its last reply, an error, its timeout, or `fail`.
 * What is kept per request goes when it settles.
 */
export class ReplyRegistry {
  readonly unclaimed: UnclaimedReplies = { late: 0, unknown: 0, forged: 0 };
  /** In order of their deadlines: all requests wait equally long, and one that is prolonged moves to the end. */
  private readonly requests = new Map<string, Pending>();
  /** Two generations: dropping the oldest id of one set each time would have to pass over all that were dropped before. */
  private ended = new Set<string>();
  private endedBefore = new Set<string>();
  private readonly waiting = new Set<Waiting>();
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    /** Milliseconds to the first reply, and from each to the next. `Infinity` waits for ever. */
    private readonly requestTimeout: number,
    private readonly deserialize: (record: KafkaRecord) => ReplyPacket | Promise<ReplyPacket>,
  ) {}

  /** Requests that have not settled. */
  get size(): number {
    return this.requests.size;
  }

  /** From now on replies are matched and the timeout runs. */
  add(entry: RequestEntry): void {
    const deadline = this.clock.monotonic() + this.requestTimeout;
    const request = { ...entry, partition: undefined, deadline, nextIndex: 0, earlier: undefined };
    this.requests.set(entry.correlationId, request);
    this.armTimer();
  }

  /** Notes that the request is about to leave and names this partition. `false`: nobody wants it any more. */
  sending(correlationId: string, partition: number): boolean {
    const request = this.requests.get(correlationId);
    if (request) request.partition = partition;
    return request !== undefined;
  }

  /** Resolves when every request has settled that names this partition now. */
  settled({ topic, partition }: TopicPartition): Promise<void> {
    const correlationIds = new Set<string>();
    for (const request of this.requests.values()) {
      if (request.replyTopic === topic && request.partition === partition)
        correlationIds.add(request.correlationId);
    }
    const over = deferred();
    if (correlationIds.size === 0) over.resolve();
    else this.waiting.add({ correlationIds, over });
    return over.promise;
  }

  /** The requester does not want to know any more. Its callback is not called. */
  forget(correlationId: string): void {
    this.take(correlationId);
  }

  /** Settles one request with an error; nothing happens if it has settled. */
  fail(correlationId: string, err: unknown): void {
    const request = this.take(correlationId);
    if (request) this.call(request, { err });
  }

  /** Settles every request with an error. */
  failAll(makeError: (topic: string) => Error): void {
    for (const [correlationId, { topic }] of [...this.requests]) this.fail(correlationId, makeError(topic));
  }

  /** Hands a record of a reply topic to the request that it answers, or counts it. Never throws. */
  deliver(record: KafkaRecord): void {
    const correlationId = headerValue(record.headers, CORRELATION_ID_HEADER)?.toString('utf8');
    const request = correlationId === undefined ? undefined : this.requests.get(correlationId);
    if (request === undefined) {
      if (correlationId !== undefined && this.hasEnded(correlationId)) this.unclaimed.late++;
      else this.unclaimed.unknown++;
      return;
    }
    if (record.topic !== request.replyTopic) {
      this.unclaimed.forged++;
      return;
    }
    const index = replyIndex(record);
    if (index !== undefined) {
      // A server that crashed within a stream produces it again from the start.
      if (index < request.nextIndex) {
        this.unclaimed.late++;
        return;
      }
      request.nextIndex = index + 1;
    }
    if (request.earlier) {
      request.earlier = request.earlier.then(() => this.settle(request, record));
      return;
    }
    const settling = this.settle(request, record);
    if (settling) request.earlier = settling;
  }

  /** Returns a promise only if the deserializer did: what follows has to wait for it. */
  private settle(request: Pending, record: KafkaRecord): Promise<void> | undefined {
    const fail = (err: unknown) => this.fail(request.correlationId, err);
    try {
      const packet = this.deserialize(record);
      if (isPromise(packet)) {
        this.prolong(request);
        return packet.then((resolved) => this.pass(request, resolved)).catch(fail);
      }
      this.pass(request, packet);
    } catch (err) {
      fail(err);
    }
    return undefined;
  }

  private pass(request: Pending, packet: ReplyPacket): void {
    if (this.requests.get(request.correlationId) !== request) return;
    const { err, response, isDisposed } = packet;
    if (err || isDisposed) this.take(request.correlationId);
    else this.prolong(request);
    this.call(request, err ? { err, response, isDisposed: true } : { response, isDisposed });
  }

  private call(request: Pending, packet: ReplyPacket): void {
    try {
      request.callback(packet);
    } catch (error) {
      // One requester's bug must keep no other one from its reply.
      const name = error instanceof Error ? error.name : typeof error;
      this.log.error(`The code that takes the reply of "${request.topic}" threw (${name})`);
    }
  }

  private take(correlationId: string): Pending | undefined {
    const request = this.requests.get(correlationId);
    if (!request) return undefined;
    this.requests.delete(correlationId);
    this.remember(correlationId);
    for (const waiting of this.waiting) {
      if (!waiting.correlationIds.delete(correlationId) || waiting.correlationIds.size > 0) continue;
      this.waiting.delete(waiting);
      waiting.over.resolve();
    }
    // A timer left behind would keep the process alive.
    if (this.requests.size === 0) this.stopTimer();
    return request;
  }

  private remember(correlationId: string): void {
    this.ended.add(correlationId);
    if (this.ended.size < REMEMBERED) return;
    this.endedBefore = this.ended;
    this.ended = new Set();
  }

  private hasEnded(correlationId: string): boolean {
    return this.ended.has(correlationId) || this.endedBefore.has(correlationId);
  }

  private prolong(request: Pending): void {
    if (this.requests.get(request.correlationId) !== request) return;
    request.deadline = this.clock.monotonic() + this.requestTimeout;
    this.requests.delete(request.correlationId);
    this.requests.set(request.correlationId, request);
  }

  private armTimer(): void {
    if (this.timer !== undefined) return;
    for (const { deadline } of this.requests.values()) {
      const wait = Math.max(0, Math.ceil(deadline - this.clock.monotonic()));
      this.timer = this.clock.setTimeout(() => this.expire(), Math.min(wait, LONGEST_TIMER));
      return;
    }
  }

  private stopTimer(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
  }

  private expire(): void {
    this.timer = undefined;
    const now = this.clock.monotonic();
    for (const request of this.requests.values()) {
      if (request.deadline > now) break;
      this.fail(
        request.correlationId,
        request.timeoutError?.(request.partition !== undefined) ??
          new ReplyTimeoutError(request.topic, this.requestTimeout),
      );
    }
    this.armTimer();
  }
}
