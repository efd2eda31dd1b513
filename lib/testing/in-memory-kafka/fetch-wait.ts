import type { KafkaRecord } from '../../messages/record.js';
import { deferred } from '../../runtime/deferred.js';
import type { Broker } from './broker.js';
import type { TopicStore } from './topic-store.js';

export interface FetchPosition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Of the log that the offset counts in; `undefined` for any. */
  readonly epoch: number | undefined;
}

export type FetchAnswer =
  | { readonly kind: 'records'; readonly records: readonly KafkaRecord[]; readonly epoch: number }
  | { readonly kind: 'out-of-range'; readonly resumeAt: bigint; readonly epoch: number }
  | { readonly kind: 'unknown-topic' };

export interface FetchLimits {
  readonly maxWaitTime: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly maxBytesPerPartition: number;
}

/** A fetch that waits at the broker. `finish` answers at once with what is there. */
export interface FetchWait {
  /** One answer per position, in the order asked. */
  readonly answers: Promise<readonly FetchAnswer[]>;
  finish(): void;
}

/** Answers as soon as there are `minBytes`, or a position that can't be read, or after `maxWaitTime`. */
export function fetchWait(
  broker: Broker,
  topics: TopicStore,
  positions: readonly FetchPosition[],
  limits: FetchLimits,
): FetchWait {
  const { promise, resolve } = deferred<readonly FetchAnswer[]>();
  const names = new Set(positions.map(({ topic }) => topic));
  const finish = () => {
    unwatch();
    cancel();
    resolve(read(topics, positions, limits).answers);
  };
  const unwatch = topics.watch((topic) => {
    if (names.has(topic) && read(topics, positions, limits).ready) finish();
  });
  const cancel = broker.after(limits.maxWaitTime, finish);
  if (read(topics, positions, limits).ready) finish();
  return { answers: promise, finish };
}

function read(
  topics: TopicStore,
  positions: readonly FetchPosition[],
  limits: FetchLimits,
): { answers: FetchAnswer[]; ready: boolean } {
  let left = limits.maxBytes;
  let ready = false;
  const answers = positions.map(({ topic: name, topicId, partition, offset, epoch: known }): FetchAnswer => {
    const topic = topics.get(name);
    const log = topic?.topicId === topicId ? topic.partitions[partition] : undefined;
    if (!log) {
      ready = true;
      return { kind: 'unknown-topic' };
    }
    const { low, epoch } = log;
    const end = known === undefined ? log.high : log.endOf(known);
    if (offset < low || offset > end) {
      ready = true;
      return { kind: 'out-of-range', resumeAt: offset < low ? low : end, epoch };
    }
    if (left <= 0) return { kind: 'records', records: [], epoch };
    const { records, bytes } = log.read(offset, Math.min(left, limits.maxBytesPerPartition));
    left -= bytes;
    return { kind: 'records', records, epoch };
  });
  return { answers, ready: ready || limits.maxBytes - left >= limits.minBytes };
}
