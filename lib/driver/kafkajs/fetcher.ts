/**
 * Reads the assigned partitions. Per node two requests can be under way, on sockets of their own: the main one waits
 * at the broker for up to `maxWaitTime`; what becomes ready meanwhile (resumed, seeked, assigned) does not wait for
 * it but goes into a second, short one. So nothing is ever later than one round trip, or 25 ms behind another
 * newcomer. While anything is paused the main one waits at most 500 ms, which keeps the short ones few.
 */
import { partitionName, type KafkaRecord, type TopicPartition } from '../../messages/record.js';
import type { Clock, Timer } from '../../runtime/clock.js';
import type { AssignedPartition } from '../driver.js';
import type { Connections } from './connections.js';
import { isFatal, text } from './errors.js';
import { FETCH, type FetchedPartition } from './fetch-request.js';
import { FetchSize } from './fetch-size.js';
import type { FetcherOptions } from './fetcher-options.js';
import type { LogHistory } from './log-history.js';
import { ProtocolError } from './protocol-error.js';
import { FetchedBatches, NO_ROOM } from './record-batch.js';
import { nearestOffset } from './start-offsets.js';
import type { Topology } from './topology.js';

export interface FetcherHooks {
  records(partition: AssignedPartition, records: readonly KafkaRecord[]): void;
  outOfRange(partition: AssignedPartition, wanted: bigint, resumeAt: bigint): void;
  /** A partition that can't be read now; it is tried again. Once per failure, and once with `undefined` when it reads on. */
  trouble(partition: AssignedPartition, problem: string | undefined): void;
  fetched(nodeId: number, records: number, duration: number): void;
  /** All below `nextOffset` was handed over. */
  passed?(partition: AssignedPartition, nextOffset: bigint): void;
  /** Whether what was fetched may still be handed over. */
  isCurrent(): boolean;
}

interface Feed {
  readonly partition: AssignedPartition;
  position: bigint;
  paused: boolean;
  /** Changes with every fetch and seek: an answer to an older one is dropped. */
  ticket: number;
  fetching: boolean;
  failures: number;
  /** Monotonic time before which it is left alone, after a failure. */
  notBefore: number;
  /** A closer replica that the leader named. */
  replica: number | undefined;
  problem: string | undefined;
  readonly size: FetchSize;
  /** Fetched, and not handed over because it was paused. */
  rest: FetchedBatches | undefined;
  /** Where the next such one may lie: a buffer for each would be garbage that only a collection of the old generation ends. */
  room: Buffer;
}

type Lane = 'fetch' | 'fetch-aside';

const WAIT_WHILE_PAUSED = 500;
const WAIT_ASIDE = 25;
/** Records are decoded and handed over so many at a time; a pause takes effect in between. */
const HANDED_OVER = 64;
const FIRST_BACKOFF = 50;
const LONGEST_BACKOFF = 2_000;
/** Decoding gives other work a turn after so many milliseconds. */
const LONGEST_TURN = 20;

const OFFSET_OUT_OF_RANGE = 1;

export class Fetcher {
  private feeds = new Map<string, Feed>();
  private readonly busy = new Set<string>();
  private ticket = 0;
  private started = false;
  private waking = false;
  private retryTimer: Timer | undefined;

  constructor(
    private readonly connections: Connections,
    private readonly topology: Topology,
    private readonly history: LogHistory,
    private readonly options: FetcherOptions,
    private readonly hooks: FetcherHooks,
    private readonly clock: Clock,
  ) {}

  /** From now on they can be paused and sought; nothing is read before `start`. */
  assign(partitions: readonly AssignedPartition[]): void {
    this.started = false;
    for (const partition of partitions) {
      this.feeds.set(partitionName(partition), {
        partition,
        position: partition.startOffset,
        paused: false,
        ticket: ++this.ticket,
        fetching: false,
        failures: 0,
        notBefore: 0,
        replica: undefined,
        problem: undefined,
        size: new FetchSize(this.options.maxBytesPerPartition, this.clock),
        rest: undefined,
        room: NO_ROOM,
      });
    }
  }

  start(): void {
    this.started = true;
    this.wake();
  }

  /** Forgets one; an answer that is under way is dropped. */
  drop(partition: TopicPartition): void {
    this.feeds.delete(partitionName(partition));
  }

  /** Forgets everything at once; answers that are under way are dropped. */
  clear(): void {
    this.started = false;
    this.feeds = new Map();
    this.clock.clearTimeout(this.retryTimer);
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const feed of this.find(partitions)) feed.paused = true;
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const feed of this.find(partitions)) feed.paused = false;
    this.wake();
  }

  seek(partition: TopicPartition, offset: bigint): void {
    for (const feed of this.find([partition])) {
      feed.position = offset;
      feed.ticket = ++this.ticket;
      feed.fetching = false;
      feed.notBefore = 0;
      feed.rest = undefined;
      feed.room = NO_ROOM; // somebody may be in the midst of decoding what lies there
    }
    this.wake();
  }

  paused(): TopicPartition[] {
    return [...this.feeds.values()].filter(({ paused }) => paused).map(({ partition }) => partition);
  }

  /** Looks for something to fetch, after the current turn: many resumes make one request. */
  wake(): void {
    if (this.waking || !this.started) return;
    this.waking = true;
    this.clock.setImmediate(() => {
      this.waking = false;
      if (this.started) this.pump();
    });
  }

  private find(partitions: readonly TopicPartition[]): Feed[] {
    return partitions
      .map((partition) => this.feeds.get(partitionName(partition)))
      .filter((feed) => feed !== undefined);
  }

  private pump(): void {
    const now = this.clock.monotonic();
    const ready = new Map<number, Feed[]>();
    let anyPaused = false;
    let retryAt = Infinity;
    for (const feed of this.feeds.values()) {
      anyPaused ||= feed.paused;
      if (feed.paused || feed.fetching) continue;
      if (feed.rest) {
        void this.goOn(feed);
        continue;
      }
      if (feed.notBefore > now) {
        retryAt = Math.min(retryAt, feed.notBefore);
        continue;
      }
      const node = feed.replica ?? this.topology.leader(feed.partition);
      if (node === undefined) {
        this.fail(feed, undefined);
        retryAt = Math.min(retryAt, feed.notBefore);
        continue;
      }
      if (!this.history.isFollowed(feed.partition)) {
        void this.follow(feed);
        continue;
      }
      const ofNode = ready.get(node);
      if (ofNode) ofNode.push(feed);
      else ready.set(node, [feed]);
    }
    this.clock.clearTimeout(this.retryTimer);
    if (retryAt < Infinity)
      this.retryTimer = this.clock.setTimeout(() => this.wake(), Math.ceil(retryAt - now));
    for (const [node, feeds] of ready) {
      const lane = (['fetch', 'fetch-aside'] as const).find((lane) => !this.busy.has(`${lane} ${node}`));
      if (lane) void this.fetch(node, lane, feeds, anyPaused);
    }
  }

  /** Hands over what a pause has left of the last fetch; only then the next one is sent. */
  private async goOn(feed: Feed): Promise<void> {
    const ticket = (feed.ticket = ++this.ticket);
    const isValid = () => this.feeds.get(partitionName(feed.partition)) === feed && feed.ticket === ticket;
    feed.fetching = true;
    await this.handOver(feed, isValid);
    if (!isValid()) return;
    feed.fetching = false;
    this.wake();
  }

  /** A new leader may lack records that were read: reading goes on where its log takes another course. */
  private async follow(feed: Feed): Promise<void> {
    const { partition, position } = feed;
    const ticket = (feed.ticket = ++this.ticket);
    const isValid = () => this.feeds.get(partitionName(partition)) === feed && feed.ticket === ticket;
    feed.fetching = true;
    feed.replica = undefined;
    try {
      const { epoch, end } = await this.history.endAt(this.topology.leader(partition)!, partition, position);
      if (!isValid() || !this.hooks.isCurrent()) return;
      this.history.begin(partition, epoch);
      feed.position = end;
      if (end !== position) this.hooks.outOfRange(partition, position, end);
    } catch (error) {
      if (isValid()) this.fail(feed, isFatal(error) ? text(error) : undefined);
    } finally {
      if (isValid()) feed.fetching = false;
      this.wake();
    }
  }

  private async fetch(node: number, lane: Lane, feeds: readonly Feed[], anyPaused: boolean): Promise<void> {
    const { maxWaitTime, minBytes, maxBytes, readCommitted, rackId } = this.options;
    const aside = lane === 'fetch-aside';
    const key = `${lane} ${node}`;
    this.busy.add(key);
    const tickets = new Map<Feed, number>();
    for (const feed of feeds) {
      feed.fetching = true;
      feed.ticket = ++this.ticket;
      tickets.set(feed, feed.ticket);
    }
    const isValid = (feed: Feed) =>
      this.feeds.get(partitionName(feed.partition)) === feed && feed.ticket === tickets.get(feed);
    const startedAt = this.clock.monotonic();
    let count = 0;
    try {
      const answers = await this.connections.send(node, lane, FETCH, {
        partitions: feeds.map(({ partition, position, size }) => ({
          topic: partition.topic,
          partition: partition.partition,
          topicId: partition.topicId,
          offset: position,
          leaderEpoch: this.history.epochOf(partition),
          maxBytes: size.bytes,
        })),
        maxWaitTime: Math.min(maxWaitTime, aside ? WAIT_ASIDE : anyPaused ? WAIT_WHILE_PAUSED : Infinity),
        minBytes: aside ? 1 : minBytes,
        maxBytes,
        readCommitted,
        rackId,
      });
      const duration = this.clock.monotonic() - startedAt;
      const byName = new Map(feeds.map((feed) => [partitionName(feed.partition), feed]));
      let turnStarted = this.clock.monotonic();
      for (const answer of answers) {
        const feed = byName.get(partitionName(answer));
        if (!feed || !isValid(feed)) continue;
        count += await this.take(feed, answer, node, isValid);
        if (this.clock.monotonic() - turnStarted > LONGEST_TURN) {
          await new Promise<void>((resolve) => this.clock.setImmediate(resolve));
          turnStarted = this.clock.monotonic();
        }
      }
      this.hooks.fetched(node, count, duration);
    } catch (error) {
      for (const feed of feeds) {
        if (!isValid(feed)) continue;
        feed.replica = undefined;
        // A broker that can't be reached is the member's to tell; here it is only tried again.
        this.fail(
          feed,
          isFatal(error) ? `It can't be fetched from broker ${node}: ${text(error)}` : undefined,
        );
      }
    } finally {
      this.busy.delete(key);
      for (const feed of feeds) if (isValid(feed)) feed.fetching = false;
      this.wake();
    }
  }

  /** Takes what came for one partition; returns how many records were handed over. */
  private async take(
    feed: Feed,
    answer: FetchedPartition,
    node: number,
    isValid: (feed: Feed) => boolean,
  ): Promise<number> {
    if (answer.errorCode !== 0) {
      await this.partitionError(feed, answer.errorCode, isValid);
      return 0;
    }
    if (answer.preferredReadReplica >= 0 && answer.preferredReadReplica !== node) {
      feed.replica = answer.preferredReadReplica;
      return 0;
    }
    const { partition, position, size } = feed;
    const aborted = this.options.readCommitted ? answer.aborted : null;
    const rest = new FetchedBatches(answer.records ?? NO_ROOM, partition, position, aborted);
    if (answer.highWatermark > position) size.fetched(rest.ended ? 0 : answer.records!.length);
    if (rest.ended) return 0;
    feed.rest = rest;
    // To the end of the line: the broker fills its answer in the order of the request.
    this.feeds.delete(partitionName(partition));
    this.feeds.set(partitionName(partition), feed);
    return this.handOver(feed, isValid);
  }

  /** Until the partition is paused: what is left then waits as bytes. Returns how many records; never rejects. */
  private async handOver(feed: Feed, isValid: (feed: Feed) => boolean): Promise<number> {
    const rest = feed.rest!;
    let count = 0;
    try {
      while (!rest.ended && !feed.paused) {
        const records = await rest.next(HANDED_OVER);
        if (!isValid(feed)) return count;
        if (feed.paused || !this.hooks.isCurrent()) {
          feed.rest = undefined; // what was decoded meanwhile is fetched again, from where it stands
          return count;
        }
        feed.position = rest.nextOffset;
        this.recovered(feed);
        count += records.length;
        if (records.length > 0) this.hooks.records(feed.partition, records);
        if (!isValid(feed)) return count;
        this.hooks.passed?.(feed.partition, feed.position);
        if (!isValid(feed)) return count;
      }
      if (rest.ended) {
        feed.rest = undefined;
        feed.room = rest.room;
        feed.size.handedOver();
      } else rest.detach(feed.room);
    } catch (error) {
      if (isValid(feed)) {
        feed.rest = undefined;
        this.fail(feed, text(error));
      }
    }
    return count;
  }

  private async partitionError(feed: Feed, code: number, isValid: (feed: Feed) => boolean): Promise<void> {
    feed.replica = undefined;
    const error = new ProtocolError(code, `a fetch from ${partitionName(feed.partition)}`);
    if (code !== OFFSET_OUT_OF_RANGE) return this.fail(feed, error.retryable ? undefined : error.message);
    try {
      const resumeAt = await nearestOffset(this.connections, this.topology, feed.partition, feed.position);
      if (!isValid(feed) || !this.hooks.isCurrent()) return;
      const wanted = feed.position;
      feed.position = resumeAt;
      if (resumeAt !== wanted) this.hooks.outOfRange(feed.partition, wanted, resumeAt);
    } catch (cause) {
      if (isValid(feed)) this.fail(feed, text(cause));
    }
  }

  private fail(feed: Feed, problem: string | undefined): void {
    const wait = Math.min(FIRST_BACKOFF * 2 ** feed.failures, LONGEST_BACKOFF);
    feed.failures++;
    feed.notBefore = this.clock.monotonic() + wait;
    this.topology.refreshSoon();
    if (problem !== undefined && problem !== feed.problem) {
      feed.problem = problem;
      this.hooks.trouble(feed.partition, problem);
    }
  }

  private recovered(feed: Feed): void {
    feed.failures = 0;
    if (feed.problem === undefined) return;
    feed.problem = undefined;
    this.hooks.trouble(feed.partition, undefined);
  }
}
