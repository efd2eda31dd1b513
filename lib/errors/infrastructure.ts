import type { ErrorCode } from './kafka-transport.error.js';

/** How many `cause`s are looked through: enough for an ORM around a pool around a socket. */
const MAX_DEPTH = 8;

const OWN_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'KT_LEDGER_UNREACHABLE',
  'KT_COMMIT_UNKNOWN',
  'KT_BROKER_UNREACHABLE',
]);

const SOCKET_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/**
 * 08 connection, 53 resources, 57P operator intervention, 25006 read-only server (a failover under way), 40001
 * serialization, 40P01 deadlock, 55P03 lock not available.
 */
const SQLSTATE = /^(?:08...|53...|57P..|25006|40001|40P01|55P03)$/;

/** What `pg` and its pool throw without any code. */
const CODELESS_MESSAGE =
  /^(?:Connection terminated|timeout exceeded when trying to connect|timeout expired$|Client has encountered a connection error and is not queryable|Client was closed and is not queryable)/;

/**
 * Whether `error`, or what caused it, says that Kafka or Postgres cannot be reached or cannot work now. Such a failure
 * is nobody's fault: it is retried without counting an attempt. Safe on any thrown value, also on hostile ones.
 *
 * For errors of connections to Kafka and Postgres: a refused socket counts.
 */
export function isInfrastructureError(error: unknown): boolean {
  return someCause(error, (cause) => saysInfrastructure(cause) || hasSocketCode(cause));
}

/**
 * The same for what a handler threw. A refused socket says nothing there: it may be anybody's, and a handler whose
 * partner is down has failed.
 */
export function isInfrastructureFailure(error: unknown): boolean {
  return someCause(error, saysInfrastructure);
}

/** SQLSTATEs of transactions that got into each other's way. */
const CONTENTION: ReadonlySet<unknown> = new Set(['40001', '40P01', '55P03']);

/** Whether running the same transaction again, perhaps by itself, is all that is needed. */
export function isContention(error: unknown): boolean {
  return someCause(error, (cause) => CONTENTION.has(read(cause, 'code')));
}

/** Whether a statement failed only because one before it in its transaction had. */
export function isAfterFailure(error: unknown): boolean {
  return someCause(error, (cause) => read(cause, 'code') === '25P02');
}

function someCause(error: unknown, test: (cause: object) => boolean): boolean {
  let current = error;
  for (let depth = 0; depth < MAX_DEPTH && typeof current === 'object' && current !== null; depth++) {
    if (test(current)) return true;
    current = read(current, 'cause');
  }
  return false;
}

/** Whether a SQLSTATE means that Postgres cannot work now, as opposed to a statement that is wrong. */
export function isInfrastructureSqlState(code: string): boolean {
  return SQLSTATE.test(code);
}

function saysInfrastructure(error: object): boolean {
  const code = read(error, 'code');
  if (typeof code === 'string') {
    // By code and not by class alone: two copies of this package may be loaded.
    return OWN_CODES.has(code) || SQLSTATE.test(code);
  }
  const message = read(error, 'message');
  return typeof message === 'string' && CODELESS_MESSAGE.test(message);
}

function hasSocketCode(error: object): boolean {
  const code = read(error, 'code');
  return typeof code === 'string' && SOCKET_CODES.has(code);
}

function read(target: object, property: string): unknown {
  try {
    return (target as Record<string, unknown>)[property];
  } catch {
    return undefined;
  }
}
