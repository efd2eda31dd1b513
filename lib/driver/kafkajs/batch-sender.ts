/**
 * Batching that needs no timer: what one event-loop turn sends, and what arrives while a partition's last batch is
 * under way, goes out together. A partition has one batch under way at a time, which keeps its order through retries.
 */
import type { RetryOptions } from 'kafkajs';
import { KafkaTransportError } from '../../errors/kafka-transport.error.js';
import { ProduceError } from '../../errors/errors.js';
import {
  partitionName,
  type OutgoingRecord,
  type RecordMetadata,
  type TopicPartition,
} from '../../messages/record.js';
import { sleep, type Clock } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type { Connections } from './connections.js';
import { isFatal, text } from './errors.js';
import { PRODUCE, type ProducedPartition } from './produce-request.js';
import { ProducerIdentitySource } from './producer-identity.js';
import { ProtocolError, protocolType } from './protocol-error.js';
import { encodeBatch, NO_PRODUCER, type ProducerIdentity } from './record-batch-encoder.js';
import type { TopicDirectory } from './topic-directory.js';

export interface Entry {
  readonly record: OutgoingRecord;
  /** Upper bound of its bytes on the wire. */
  readonly size: number;
  resolve(metadata: RecordMetadata): void;
  reject(error: unknown): void;
}

export interface BatchSenderOptions {
  readonly acks: -1 | 0 | 1;
  readonly timeout: number;
  readonly compression: number;
  readonly idempotent: boolean;
  /** Per broker; at most 5. */
  readonly maxInFlightRequests: number | undefined;
  readonly retry: RetryOptions;
}

/** A partition's records in the order of their sends. */
interface Queue extends TopicPartition {
  readonly name: string;
  waiting: Entry[];
  underWay: boolean;
  /** Most records of the next batch. */
  limit: number;
  identity: ProducerIdentity;
  sequence: number;
}

interface Batch {
  readonly queue: Queue;
  readonly entries: readonly Entry[];
  bytes: Buffer;
  /** Attempts that failed. */
  failures: number;
  /** One of them may have been stored all the same. */
  uncertain: boolean;
}

/** A broker takes about 1 MB per batch by default; a request is bounded alike. */
const REQUEST_BYTES = 1_000_000;
const BATCH_RECORDS = 10_000;
const REQUESTS_PER_NODE = 5;
const NO_NODE = -1;
const LEADER_WAIT = 30;
/** How often a batch is tried again unless `retry` says it: for half a minute. A crash of its leader shows after 9 s by default. */
const RETRIES = 12;
const LONGEST_WAIT = 3_000;
/** And while the producer closes: for less than 10 s. */
const RETRIES_WHILE_CLOSING = 5;
/** kafkajs' own, which goes with a number of retries that was set. */
const LONGEST_CHOSEN_WAIT = 30_000;

/** Refusals of a whole batch for the sake of a single record in it. */
const DIVISIBLE = new Set([
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'INVALID_RECORD',
  'INVALID_TIMESTAMP',
]);
/** The broker has forgotten our producer id, or our numbering and its own differ. */
const IDENTITY_LOST = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
]);
const LEADER_UNKNOWN = new Set([
  'NOT_LEADER_OR_FOLLOWER',
  'LEADER_NOT_AVAILABLE',
  'UNKNOWN_TOPIC_OR_PARTITION',
]);
/** Answers after which a batch may be stored or not. */
const UNCERTAIN = new Set(['REQUEST_TIMED_OUT', 'NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'UNKNOWN_SERVER_ERROR']);
const LEADER_NOT_AVAILABLE = 5;
const LARGEST_SEQUENCE = 0x7fffffff;

export class BatchSender {
  private readonly queues = new Map<string, Queue>();
  private readonly ready = new Set<Queue>();
  private readonly requests = new Map<number, number>();
  private readonly requestsPerNode: number;
  private readonly identities: ProducerIdentitySource;
  private waking = false;
  private closing = false;

  constructor(
    private readonly connections: Connections,
    private readonly directory: TopicDirectory,
    private readonly options: BatchSenderOptions,
    private readonly report: (status: 'connected' | 'disconnected') => void,
    private readonly clock: Clock,
    log: Log,
  ) {
    this.identities = new ProducerIdentitySource(options.idempotent, connections, clock, log);
    this.requestsPerNode = Math.min(options.maxInFlightRequests ?? REQUESTS_PER_NODE, REQUESTS_PER_NODE);
  }

  /** Gets a producer id. Rejects if no broker answers. */
  async prepare(): Promise<void> {
    await this.identities.current();
  }

  /** What can't be sent soon is to be given up. */
  close(): void {
    this.closing = true;
  }

  clear(): void {
    this.closing = false;
    this.queues.clear();
    this.ready.clear();
    this.identities.renew();
  }

  enqueue(entry: Entry, partition: number): void {
    const target = { topic: entry.record.topic, partition };
    const name = partitionName(target);
    let queue = this.queues.get(name);
    if (!queue) {
      const empty = {
        waiting: [],
        underWay: false,
        limit: BATCH_RECORDS,
        identity: NO_PRODUCER,
        sequence: 0,
      };
      this.queues.set(name, (queue = { ...target, ...empty, name }));
    }
    queue.waiting.push(entry);
    if (queue.underWay) return;
    this.ready.add(queue);
    this.wake();
  }

  private wake(): void {
    if (this.waking) return;
    this.waking = true;
    this.clock.setImmediate(() => {
      this.waking = false;
      this.pump();
    });
  }

  /** Makes one request for each broker that has room for another. */
  private pump(): void {
    const parts = new Map<number, { bytes: number; batches: { queue: Queue; entries: Entry[] }[] }>();
    for (const queue of this.ready) {
      const node = this.directory.leader(queue) ?? NO_NODE;
      if ((this.requests.get(node) ?? 0) >= this.requestsPerNode) continue;
      let part = parts.get(node);
      if (!part) parts.set(node, (part = { bytes: 0, batches: [] }));
      if (part.bytes > 0 && part.bytes + queue.waiting[0]!.size > REQUEST_BYTES) continue;
      const { entries, bytes } = take(queue, REQUEST_BYTES - part.bytes);
      part.bytes += bytes;
      part.batches.push({ queue, entries });
      this.ready.delete(queue);
      queue.underWay = true;
    }
    for (const [node, { batches }] of parts) void this.encodeAndSend(node, batches);
    if (parts.size > 0 && this.ready.size > 0) this.wake();
  }

  private async encodeAndSend(
    node: number,
    parts: readonly { queue: Queue; entries: Entry[] }[],
  ): Promise<void> {
    this.requests.set(node, (this.requests.get(node) ?? 0) + 1);
    const batches = parts.map((part): Batch => ({
      ...part,
      bytes: Buffer.alloc(0),
      failures: 0,
      uncertain: false,
    }));
    try {
      for (const batch of batches) await this.encode(batch);
    } catch (error) {
      this.requests.set(node, this.requests.get(node)! - 1);
      for (const batch of batches) void this.failed(batch, error);
      return;
    }
    await this.send(node, batches);
    this.requests.set(node, this.requests.get(node)! - 1);
    if (this.ready.size > 0) this.wake();
  }

  private async encode(batch: Batch): Promise<void> {
    const { queue, entries } = batch;
    const identity = await this.identities.current();
    if (queue.identity !== identity) {
      queue.identity = identity;
      queue.sequence = 0;
    }
    batch.bytes = await encodeBatch(
      entries.map(({ record }) => record),
      this.clock.now(),
      this.options.compression,
      identity,
      identity === NO_PRODUCER ? -1 : queue.sequence,
    );
  }

  private async send(node: number, batches: readonly Batch[]): Promise<void> {
    const { acks, timeout } = this.options;
    let answers: ProducedPartition[];
    try {
      if (node === NO_NODE) throw new ProtocolError(LEADER_NOT_AVAILABLE, 'a produce request');
      answers = await this.connections.send(node, 'produce', PRODUCE, {
        acks,
        timeout,
        batches: batches.map(({ queue: { topic, partition }, bytes }) => ({ topic, partition, bytes })),
      });
      this.report('connected');
    } catch (error) {
      if (!(error instanceof ProtocolError)) this.report('disconnected');
      for (const batch of batches) void this.failed(batch, error);
      return;
    }
    const byName = new Map(answers.map((answer) => [partitionName(answer), answer]));
    for (const batch of batches) {
      const answer = byName.get(batch.queue.name);
      if (acks === 0) this.accepted(batch, -1n);
      else if (answer?.errorCode === 0) this.accepted(batch, answer.baseOffset);
      else
        void this.failed(
          batch,
          new ProtocolError(answer?.errorCode ?? -1, `a batch for ${batch.queue.name}`),
        );
    }
  }

  private accepted({ queue, entries }: Batch, baseOffset: bigint): void {
    const { topic, partition } = queue;
    queue.sequence = nextSequence(queue.sequence, entries.length);
    queue.limit = Math.min(queue.limit * 2, BATCH_RECORDS);
    for (let index = 0; index < entries.length; index++) {
      const offset = baseOffset < 0n ? -1n : baseOffset + BigInt(index);
      entries[index]!.resolve({ topic, partition, offset });
    }
    this.release(queue);
  }

  /** Tries again, with fewer records, under a new identity, or gives up: never leaves an entry unsettled. */
  private async failed(batch: Batch, error: unknown): Promise<void> {
    const { queue, entries } = batch;
    const type = protocolType(error) ?? '';
    if (DIVISIBLE.has(type) && entries.length > 1) {
      // One record is to blame, and the others must not fail with it: smaller batches close in on it.
      queue.limit = Math.ceil(entries.length / 2);
      queue.waiting = [...entries, ...queue.waiting];
      return this.release(queue);
    }
    batch.uncertain ||=
      error instanceof ProtocolError ? UNCERTAIN.has(type) : !(error instanceof KafkaTransportError);
    const { retries = this.closing ? RETRIES_WHILE_CLOSING : RETRIES } = this.options.retry;
    const identityLost = this.identities.isIdempotent && IDENTITY_LOST.has(type);
    const passing = identityLost
      ? !batch.uncertain
      : error instanceof ProtocolError
        ? error.retryable
        : !isFatal(error);
    if (!passing || batch.failures >= retries) return this.giveUp(batch, error);
    // A leader that has moved or is new is known in a moment; only what does not pass at once takes longer steps.
    const first = LEADER_UNKNOWN.has(type) && batch.failures === 0 ? LEADER_WAIT : Infinity;
    const wait = Math.min(this.backoff(batch.failures), first);
    batch.failures++;
    try {
      if (identityLost) this.identities.renew();
      else await sleep(this.clock, wait);
      await this.directory.refresh([queue.topic]).catch(() => undefined);
      if (identityLost || batch.bytes.length === 0) await this.encode(batch);
      await this.send(this.directory.leader(queue) ?? NO_NODE, [batch]);
    } catch (again) {
      await this.failed(batch, again);
    }
  }

  private backoff(failures: number): number {
    const { retries, initialRetryTime = 300, multiplier = 2, maxRetryTime } = this.options.retry;
    const longest = maxRetryTime ?? (retries === undefined ? LONGEST_WAIT : LONGEST_CHOSEN_WAIT);
    return Math.min(initialRetryTime * multiplier ** failures, longest);
  }

  private giveUp({ queue, entries, uncertain, failures }: Batch, error: unknown): void {
    // The broker may count this batch or not; under a new producer id the numbering starts again.
    if (uncertain) this.identities.renew();
    const retryable = error instanceof ProtocolError ? error.retryable : !isFatal(error);
    const attempts = failures > 0 ? ` after ${failures + 1} attempts` : '';
    const doubt = uncertain ? '; it may have been stored' : '';
    for (const entry of entries) {
      entry.reject(
        new ProduceError(
          `A record for ${queue.name} was not acknowledged${attempts}: ${text(error)}${doubt}`,
          {
            cause: error,
            retryable,
          },
        ),
      );
    }
    queue.limit = BATCH_RECORDS;
    this.release(queue);
  }

  private release(queue: Queue): void {
    queue.underWay = false;
    if (queue.waiting.length === 0) return;
    this.ready.add(queue);
    this.wake();
  }
}

/** The first records, up to the bounds; always at least one. */
function take(queue: Queue, room: number): { entries: Entry[]; bytes: number } {
  const { waiting, limit } = queue;
  let bytes = 0;
  let count = 0;
  while (count < waiting.length && count < limit) {
    const { size } = waiting[count]!;
    if (count > 0 && bytes + size > room) break;
    bytes += size;
    count++;
  }
  queue.waiting = waiting.slice(count);
  return { entries: waiting.slice(0, count), bytes };
}

/** Numbers wrap to 0 after the largest 32-bit one. */
function nextSequence(sequence: number, count: number): number {
  const next = sequence + count;
  return next > LARGEST_SEQUENCE ? next - LARGEST_SEQUENCE - 1 : next;
}
