import type { KafkaOptions } from '@nestjs/microservices';
import type { ParkingPolicy } from '../consumption/parking-policy.js';
import type { RetryPolicy } from '../consumption/retry-policy.js';
import type { Ordering } from '../consumption/sequences.js';
import type { KafkaDriver } from '../driver/driver.js';
import type { KafkaRecord } from '../messages/record.js';
import type { Clock } from '../runtime/clock.js';

type NestOptions = NonNullable<KafkaOptions['options']>;

/** Where dead letters go: `true` = `<topic>.dlt`, a topic for all, or a topic per record. */
export type DeadLetterOption = boolean | string | { topic: string | ((record: KafkaRecord) => string) };

/** Nest's Kafka options and this library's own. Times are milliseconds. */
export interface KafkaTransportOptions extends NestOptions {
  /** The Kafka client. Default: kafkajs, configured by `client`, `consumer`, `producer`. */
  driver?: KafkaDriver;
  /**
   * Groups of records worked on at once in this process: of one partition one, or under another `ordering` several.
   * Default 8, or `run.partitionsConsumedConcurrently` if given.
   */
  concurrency?: number;
  /**
   * Which records have an order among them. `partition` (default): all of a partition. `key`: those of a partition with
   * the same key; a slow or failing record holds up only its key, and records without a key have no order. `none`:
   * nothing has.
   */
  ordering?: Ordering;
  /**
   * Bounds of a transaction that records share; `false` = one record each. Default 64 records and 10 ms, which
   * stretch up to 250 ms while beginning and committing take longer than a tenth of that. `concurrent` runs handlers of different keys
   * at once on the one connection of their group; for orderings `key` and `none`. Default false.
   */
  groupCommit?: { maxRecords?: number; maxMillis?: number; concurrent?: boolean } | false;
  /** How event handlers that fail are tried again. Default 10 attempts, 100 ms to 30 s, full jitter, no deadline. */
  retry?: Partial<RetryPolicy>;
  /**
   * After the last attempt: `dead-letter` gives the record up, `block` tries for ever. `park` keeps it in the ledger and
   * tries it again later, while later records of its key queue behind it and others go on; for durable handlers.
   * Default: `dead-letter` for durable handlers or with `deadLetter`, else `block`.
   */
  onExhausted?: 'dead-letter' | 'park' | 'block';
  /**
   * Under `onExhausted: 'park'`: the first try of a parked record is 30 s later, each further one after twice the time, up
   * to an hour; after 10 it is held for an operator. At most 10 000 sequences of a handler and 1 000 records of a sequence;
   * where there is no room, records wait in their partition, or under ordering `key` their keys do.
   */
  parking?: Partial<ParkingPolicy>;
  /** Publish dead letters. Default: off. A durable handler's dead record is in the ledger either way. */
  deadLetter?: DeadLetterOption;
  /** A handler that takes longer has failed, and its `context.signal` aborts. Default: none. */
  handlerTimeout?: number;
  /** Longest wait of a `send()` for a reply. Default 30 000. */
  requestTimeout?: number;
  /**
   * Clients only: whose a partition of a reply topic is. `exclusive`: of one client, as the group agrees; each topic needs
   * as many partitions as there are clients. `shared`: of any number of clients, which read each other's replies and pass
   * over them; no group, no rebalance. Default `exclusive`.
   */
  replyPartition?: 'exclusive' | 'shared';
  /** How long `close()` lets handlers finish. Default 10 000. */
  shutdownTimeout?: number;
  /** How long an unfinished reply stream holds back the offset of its request. Default 30 000. */
  streamOffsetTimeout?: number;
  /** Create missing topics and reply topics before subscribing. Default: `consumer.allowAutoTopicCreation`, else true. */
  provision?: boolean;
  /** Time, timers, randomness and ids; for tests. */
  clock?: Clock;
}
