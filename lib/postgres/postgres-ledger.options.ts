import type { Pool, PoolConfig } from 'pg';
import { InvalidOptionError } from '../errors/errors.js';
import { systemClock, type Clock } from '../runtime/clock.js';
import { silentLog, type Log } from '../runtime/log.js';
import { invalidConnectionString } from './ledger-connection-error.js';

export interface PostgresLedgerOptions {
  /**
   * Where the ledger lives. A pool is used as it is and not closed; for speed give it `pipeline: true`, which the ledger's
   * own pools have.
   */
  readonly connection: string | PoolConfig | Pool;
  /** Schema of the ledger's tables. Default `durable_kafka`. */
  readonly schema?: string | undefined;
  /** `true` runs missing migrations in `open()`; `false` refuses a schema that is not up to date. Default `true`. */
  readonly migrate?: boolean | undefined;
  /** Connections of the ledger's own pool. Default: the `max` of `connection`, else 10. Not for a pool given. */
  readonly poolSize?: number | undefined;
  /**
   * By this name a successor recognizes its predecessor's sessions: the same in all processes of one application.
   * Default `nestjs-durable-kafka`. A name in the connection string or in a pool given wins.
   */
  readonly applicationName?: string | undefined;
  /**
   * Whether statements are prepared under names. `false` for poolers that hand out another backend per transaction and do
   * not follow prepared statements (PgBouncer before 1.21). Default `true`.
   */
  readonly prepare?: boolean | undefined;
  readonly clock?: Clock | undefined;
  readonly log?: Log | undefined;
  /** Names the handler that the calling code belongs to, for the log. */
  readonly whoseRun?: (() => string | undefined) | undefined;
}

export interface ResolvedPostgresLedgerOptions {
  readonly connection: PoolConfig | Pool;
  readonly schema: string;
  readonly migrate: boolean;
  /** Somebody chose the size of the pool. */
  readonly sizeIsGiven: boolean;
  readonly applicationName: string;
  readonly prepare: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly whoseRun: () => string | undefined;
}

/** Milliseconds a checkout waits for a connection: without a bound it would wait for ever on a server that is away. */
const CONNECT_TIMEOUT = 10_000;
const DEFAULT_POOL_SIZE = 10;
/** A URL, or a folder with a socket. */
const CONNECTION_STRING = /^(?:postgres(?:ql)?:\/\/|socket:|\/)/i;

export function resolveOptions(options: PostgresLedgerOptions): ResolvedPostgresLedgerOptions {
  const { connection, schema = 'durable_kafka', poolSize } = options;
  const applicationName = options.applicationName ?? 'nestjs-durable-kafka';
  const schemaBytes = Buffer.byteLength(schema);
  if (schemaBytes === 0 || schemaBytes > 63 || schema.includes('\0') || schema.startsWith('pg_')) {
    throw new InvalidOptionError(
      'schema',
      'must be a name that Postgres takes for a schema: 1 to 63 bytes, not starting with "pg_"',
    );
  }
  // Postgres would cut a longer one, and sessions would no longer be recognized.
  if (!/^[\x20-\x7e]{1,63}$/.test(applicationName)) {
    throw new InvalidOptionError('applicationName', 'must have 1 to 63 printable ASCII characters');
  }
  if (poolSize !== undefined && (!Number.isInteger(poolSize) || poolSize < 1)) {
    throw new InvalidOptionError('poolSize', `must be a positive whole number, not ${poolSize}`);
  }
  return {
    connection: resolveConnection(connection, applicationName, poolSize),
    schema,
    migrate: options.migrate ?? true,
    sizeIsGiven: poolSize !== undefined || isPool(connection) || sizeOf(connection) !== undefined,
    applicationName,
    prepare: options.prepare ?? true,
    clock: options.clock ?? systemClock,
    log: options.log ?? silentLog,
    whoseRun: options.whoseRun ?? (() => undefined),
  };
}

/** By shape and not by class: the application may have another copy of `pg`. */
export function isPool(connection: PostgresLedgerOptions['connection']): connection is Pool {
  return (
    typeof connection === 'object' && 'connect' in connection && typeof connection.connect === 'function'
  );
}

function sizeOf(connection: PostgresLedgerOptions['connection']): number | undefined {
  return typeof connection === 'string' ? undefined : (connection as PoolConfig).max;
}

function resolveConnection(
  connection: PostgresLedgerOptions['connection'],
  applicationName: string,
  poolSize: number | undefined,
): PoolConfig | Pool {
  if (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null)) {
    throw new InvalidOptionError('connection', 'must be a connection string, a pg.PoolConfig or a pg.Pool');
  }
  if (isPool(connection)) {
    if (poolSize !== undefined) {
      throw new InvalidOptionError('poolSize', 'cannot be set where "connection" is a pool: set its "max"');
    }
    expectText(connection.options);
    return connection;
  }
  const config = typeof connection === 'string' ? { connectionString: connection } : connection;
  expectText(config);
  const { connectionString } = config;
  // Of a text without a scheme the parser makes a path of a server called "base", and the password part of its name.
  if (connectionString !== undefined && !CONNECTION_STRING.test(connectionString))
    throw invalidConnectionString();
  return {
    connectionTimeoutMillis: CONNECT_TIMEOUT,
    application_name: applicationName,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    pipeline: true,
    ...config,
    max: poolSize ?? config.max ?? DEFAULT_POOL_SIZE,
  };
}

/** @throws InvalidOptionError */
function expectText(options: object): void {
  if ((options as { binary?: unknown }).binary !== true) return;
  throw new InvalidOptionError(
    'connection',
    'has "binary: true", with which the ledger cannot read what it stored',
  );
}
