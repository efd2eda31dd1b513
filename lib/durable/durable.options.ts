import type { ModuleMetadata, Type } from '@nestjs/common';
import type { Ledger } from '../execution/ledger.js';
import type { PostgresLedgerOptions } from '../postgres/postgres-ledger.options.js';
import type { Clock } from '../runtime/clock.js';
import type { OutgoingProducerOptions } from '../transport/outgoing-producer.js';
import type { ExecutionMode } from './durable-metadata.accessor.js';

/** Options of `DurableModule`. Times are milliseconds. */
export interface DurableModuleOptions {
  /** Postgres: a URL, pool options, or a pool of yours (which stays yours to close). Required unless `ledger` is given. */
  connection?: PostgresLedgerOptions['connection'];
  /** Another ledger than Postgres: `InMemoryLedger` in tests. */
  ledger?: Ledger;
  /** Schema of the ledger's tables. Default `durable_kafka`. */
  schema?: string;
  /** `true` (default) brings the schema up to date at start; `false` refuses to start with an old one. */
  migrate?: boolean;
  /**
   * By this name a successor recognizes the sessions of a frozen predecessor: the same in all processes of one
   * application. Default `nestjs-durable-kafka`; a name in `connection` wins.
   */
  applicationName?: string;
  /**
   * `false` sends statements without names, for poolers that hand out another backend per transaction and do not follow
   * prepared statements (PgBouncer before 1.21). Default `true`.
   */
  prepare?: boolean;
  /**
   * `true` (default) has instances see in the database when another one has died, and its partitions go on at once; takes
   * one connection of its own. `false` leaves that to Kafka's session timeout.
   */
  fastFailover?: boolean;
  /**
   * How long executions are kept under keys that people or producers chose, and dead ones. Must exceed the time after
   * which a key can come back: at least the retention of the topics, or a warning tells. `Infinity`: for ever. Default 7 days.
   */
  retention?: number;
  /** The same under message ids, and for stored replies of requests without a key. Default 1 hour. */
  messageIdRetention?: number;
  /**
   * A Kafka client for records emitted within `DurableLedger.transaction()`, where no Kafka server listens in this
   * application. Default: the producer of a server that listens; without one they wait for another process.
   */
  producer?: OutgoingProducerOptions;
  /** How handlers run that say nothing else by `@Durable({ mode })`. Default `transaction`. */
  mode?: ExecutionMode;
  /**
   * Claim mode: how long a process may be silent before others take over what it had in work. It renews its claims three
   * times as often. At least 100. Default 30 000.
   */
  lease?: number;
  /** Record header that holds a producer's own key, or `false` to ignore such headers. Default `idempotency-key`. */
  keyHeader?: string | false;
  /** `true` (default) binds the interceptor to every Kafka handler; `false` leaves that to `@Durable()` and `@UseInterceptors()`. */
  global?: boolean;
  /** Time, timers, randomness and ids; for tests. */
  clock?: Clock;
}

/** A provider that makes the options: `useClass` and `useExisting` of `forRootAsync()`. Called once, before the application starts. */
export interface DurableOptionsFactory {
  createDurableOptions(): DurableModuleOptions | Promise<DurableModuleOptions>;
}

/** What `forRootAsync()` takes: one of `useFactory`, `useClass` and `useExisting`. What it gives is checked as by `forRoot()`. */
export interface DurableModuleAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  /** Called with what `inject` names. */
  useFactory?: (...args: never[]) => DurableModuleOptions | Promise<DurableModuleOptions>;
  inject?: unknown[];
  useClass?: Type<DurableOptionsFactory>;
  useExisting?: Type<DurableOptionsFactory>;
  /** As in `DurableModuleOptions`; it decides about providers, so it can't come from the factory. */
  global?: boolean;
}

export const DURABLE_OPTIONS = Symbol('DURABLE_OPTIONS');
export const LEDGER = Symbol('LEDGER');
