import type { QueryResult } from 'pg';
import { WrongCallOrderError } from '../errors/errors.js';
import type { NestedTransactions } from './nested-transactions.js';
import { refuse, textOf } from './transaction-client.js';
import { transactionCommand, type TransactionCommand } from './transaction-command.js';

/**
 * The queries of one client inside a handler, in their order: everyday ones go to the message's transaction as they are,
 * BEGIN, COMMIT and ROLLBACK become savepoints.
 */
export class NestedQueries {
  /** The last one that had to wait, so that the next keeps its place behind it. */
  private last: Promise<void> | undefined;
  private released = false;

  constructor(private readonly nested: NestedTransactions) {}

  /** `pg`'s `query`, in all its forms. */
  send(args: unknown[]): unknown {
    const { nested } = this;
    let command: ReturnType<typeof transactionCommand>;
    try {
      if (this.released)
        throw new WrongCallOrderError('A query was sent through a client that had been released');
      nested.expectLive();
      command = transactionCommand(textOf(args[0]));
    } catch (error) {
      return refuse(args, error as Error);
    }
    if (command === undefined && this.last === undefined && nested.mayGo(this)) {
      return Reflect.apply(nested.client.query, undefined, args);
    }
    return answer(
      args,
      this.inOrder(() => this.run(command, args)),
    );
  }

  /** Rolls back what is still open. May be called more than once. */
  release(): void {
    if (this.released) return;
    this.released = true;
    // A rejection means that the handler is over: its own transaction has ended, and this with it.
    this.inOrder(async () => {
      while (this.nested.depthOf(this) > 0) await this.nested.rollback();
    }).catch(() => undefined);
  }

  private inOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = (this.last ?? Promise.resolve()).then(() => this.nested.inTurn(this, work));
    const over = () => {
      if (this.last === last) this.last = undefined;
    };
    const last = result.then(over, over);
    this.last = last;
    return result;
  }

  private async run(
    command: TransactionCommand | 'given' | undefined,
    args: readonly unknown[],
  ): Promise<unknown> {
    const { nested } = this;
    if (command === 'given') return ended(await nested.client.query('select 1'), 'SET');
    if (command === 'begin') return ended(await nested.begin(this), 'BEGIN');
    if (command !== undefined && nested.depthOf(this) > 0) {
      return command === 'commit'
        ? ended(await nested.commit(), 'COMMIT')
        : ended(await nested.rollback(), 'ROLLBACK');
    }
    // Without the callback: whoever gave one is answered by it when this is over.
    const plain = args.filter((argument) => typeof argument !== 'function');
    return Reflect.apply(nested.client.query, undefined, plain) as unknown;
  }
}

/** As the caller asked for it: by its callback, or by a promise. */
function answer(args: readonly unknown[], result: Promise<unknown>): unknown {
  const callback = args.find((argument) => typeof argument === 'function') as
    ((error: unknown, result?: unknown) => void) | undefined;
  if (callback === undefined) return result;
  result.then(
    (value) => callback(null, value),
    (error: unknown) => callback(error),
  );
  return undefined;
}

/** What `pg` answers to a transaction command. */
function ended(result: QueryResult, command: string): QueryResult {
  return { ...result, command, rows: [], rowCount: null, fields: [] };
}
