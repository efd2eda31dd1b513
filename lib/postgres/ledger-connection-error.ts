import { Client, type Pool } from 'pg';
import { InvalidOptionError, LedgerUnreachableError } from '../errors/errors.js';
import { isInfrastructureError } from '../errors/infrastructure.js';
import { KafkaTransportError } from '../errors/kafka-transport.error.js';

/** Refused credentials (28), a database that does not exist (3D): while connecting, these are "unreachable" too. */
const REFUSED = /^(?:28|3D)/;

/**
 * Canceled by a timeout or by hand (57014), permission withdrawn (42501), tables or schema gone (42P01, 3F000), a session
 * ended for idling (25P03, 25P04), prepared statements that the connection does not have, has already, or has for tables
 * that have changed (26000, 42P05, 0A000), system and internal errors (58, XX).
 */
const OUT_OF_ORDER = /^(?:57014|42501|42P01|3F000|25P03|25P04|26000|42P05|0A000|58...|XX...)$/;

const SCHEMA_GONE =
  'The schema of the ledger was dropped or renamed while this process was running: put it back, or have it made anew by ' +
  'starting the process again with "migrate: true" (a new one remembers nothing)';

const STATEMENTS_GONE =
  'If there is a connection pooler in between that does not follow prepared statements (PgBouncer before 1.21), set ' +
  '"prepare: false"; otherwise look for code that deallocates them';

/** What to do where waiting will not help. */
const REMEDIES: ReadonlyMap<string, string> = new Map([
  ['42P01', SCHEMA_GONE],
  ['3F000', SCHEMA_GONE],
  ['26000', STATEMENTS_GONE],
  ['42P05', STATEMENTS_GONE],
  ['42501', "The database user has lost its privileges on the ledger's tables; the README lists them"],
]);

/** Server, database and user of a pool, for messages. Never the password. */
export function describeTarget(pool: Pool): string {
  // The client resolves connection strings, environment variables and defaults; it is never connected.
  let client: Client & { readonly database?: string | undefined };
  try {
    client = new Client(pool.options);
  } catch {
    // The parser's own error carries the connection string, and with it the password.
    throw invalidConnectionString();
  }
  const place = client.host.startsWith('/') ? client.host : `${client.host}:${client.port}`;
  return `${place}/${client.database ?? ''} as user "${client.user ?? ''}"`;
}

/** Says nothing of the text itself. */
export function invalidConnectionString(): InvalidOptionError {
  return new InvalidOptionError(
    'connection',
    'is not a connection string that Postgres understands (postgres://user:password@host:port/database)',
  );
}

/** What a failed attempt to get a connection becomes. */
export function connectError(error: unknown, target: string): unknown {
  if (error instanceof KafkaTransportError) return error;
  const code = sqlState(error);
  const refused = code !== undefined && REFUSED.test(code);
  if (!refused && !isInfrastructureError(error)) {
    // Whatever kept a connection from coming about (TLS, a certificate, a DNS code not listed): nothing was stored.
    return new LedgerUnreachableError(`No connection to Postgres at ${target}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const remedy = refused
    ? 'Check user, password and database in the option "connection".'
    : poolIsBusy(error)
      ? 'All connections are in use: raise the pool size (concurrency + 2), or look for handlers that hang.'
      : 'Check that the server runs and can be reached.';
  return new LedgerUnreachableError(
    `No connection to Postgres at ${target}: ${messageOf(error)}. ${remedy}`,
    { cause: error },
  );
}

/**
 * What a failure of the ledger's own statement becomes: unreachable if the server is to blame or somebody's hand on it,
 * for no handler can be; itself otherwise (a deferred constraint that COMMIT found violated, bytes that text can't hold).
 */
export function statementError(error: unknown, target: string): unknown {
  if (error instanceof KafkaTransportError) return error;
  const state = sqlState(error);
  const serversFault = state !== undefined && OUT_OF_ORDER.test(state);
  if (!serversFault && !isInfrastructureError(error) && !isConnectionLoss(error)) return error;
  const remedy = state === undefined ? undefined : REMEDIES.get(state);
  return new LedgerUnreachableError(
    `Postgres at ${target} cannot work now: ${messageOf(error)}${remedy ? `. ${remedy}` : ''}`,
    { cause: error },
  );
}

/** Whether the connection itself is gone, and with it whatever was under way. */
export function isConnectionLoss(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const code = sqlState(error);
  if (code === undefined) return isInfrastructureError(error);
  if (/^[0-9A-Z]{5}$/.test(code)) {
    const severity = (error as { severity?: unknown }).severity;
    return severity === 'FATAL' || severity === 'PANIC' || code.startsWith('08');
  }
  return isInfrastructureError(error);
}

export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

function poolIsBusy(error: unknown): boolean {
  return messageOf(error).startsWith('timeout exceeded when trying to connect');
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(messageOf).join(', ');
  }
  return error instanceof Error ? error.message : String(error);
}
