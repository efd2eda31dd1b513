import type { ClientBase } from 'pg';
import { UnsupportedError, WrongCallOrderError } from '../errors/errors.js';
import { deallocatesAll } from './deallocation.js';
import { sendQuery } from './send-query.js';
import type { Session } from './session.js';
import { sharedEffect } from './shared-effect.js';
import { transactionEnd } from './transaction-end.js';

/**
 * The client of one handler's run: `query` as `pg` has it, bound to the transaction that also records the execution.
 * After the transaction's end it rejects.
 */
export interface TransactionClient {
  readonly query: ClientBase['query'];
}

export const endedMessage =
  "A query was sent through a transaction's client after the transaction had ended: a promise is floating in the " +
  'handler. Await every query before the handler returns.';

const notBegunMessage =
  "A query was sent through a transaction's client before the transaction had begun: claim first, then query.";

const ownEndMessage = (command: string) =>
  `A handler sent ${command.toUpperCase()} through its transaction's client. The transaction belongs to the library: it ` +
  'commits when the handler returns and rolls back when it throws. Use a savepoint for a part that may fail.';

const deallocateMessage =
  "A handler sent DEALLOCATE ALL through its transaction's client. The connection has prepared statements of the library, " +
  'which would fail from then on. Deallocate your own by their names.';

const concurrentMessage = (statement: string) =>
  `A handler sent ${statement} while groupCommit.concurrent is on. Handlers of a group then share one transaction at the ` +
  'same time, and this statement would take effect on the others too. Set groupCommit.concurrent to false, or do without ' +
  'it.';

/** Where a transaction stands, as far as its client is concerned. */
export type ClientGate = () => 'not begun' | 'ended' | Session;

/** Answers a query that came too late. */
export type RefuseFloating = (args: readonly unknown[]) => unknown;

/** @param isConcurrent other handlers use the transaction at the same time. */
export function createTransactionClient(
  isConcurrent: boolean,
  gate: ClientGate,
  refuseFloating: RefuseFloating,
): TransactionClient {
  const query = (...args: unknown[]): unknown => {
    const session = gate();
    if (session === 'ended') return refuseFloating(args);
    if (session === 'not begun') return refuse(args, new WrongCallOrderError(notBegunMessage));
    const text = textOf(args[0]);
    const command = transactionEnd(text);
    if (command !== undefined) return refuse(args, new WrongCallOrderError(ownEndMessage(command)));
    if (deallocatesAll(text)) return refuse(args, new UnsupportedError(deallocateMessage));
    const shared = isConcurrent ? sharedEffect(text) : undefined;
    if (shared !== undefined) return refuse(args, new UnsupportedError(concurrentMessage(shared)));
    if (isConcurrent) session.gather();
    return sendQuery(session, args);
  };
  return { query: query as ClientBase['query'] };
}

export function textOf(config: unknown): string {
  if (typeof config === 'string') return config;
  const text = (config as { text?: unknown } | null | undefined)?.text;
  return typeof text === 'string' ? text : '';
}

/** Tells the caller in the form it asked for: a callback, a query object's event, or a promise. */
export function refuse(args: readonly unknown[], error: Error): unknown {
  const callback = args.find((argument) => typeof argument === 'function') as
    ((error: Error) => void) | undefined;
  if (callback !== undefined) return void callback(error);
  const submittable = args[0] as
    { submit?: unknown; handleError?: (error: Error) => void } | null | undefined;
  if (typeof submittable?.submit === 'function' && typeof submittable.handleError === 'function') {
    submittable.handleError(error);
    return submittable;
  }
  return Promise.reject(error);
}
