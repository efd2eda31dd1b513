import { Client } from 'pg';
import { NestedQueries } from './nested-queries.js';
import type { NestedTransactions } from './nested-transactions.js';

/**
 * What `DurablePool.connect()` gives inside a handler: looks like a client of its own and works in the message's
 * transaction. Never connected to anything itself.
 */
export class NestedClient extends Client {
  private readonly queries: NestedQueries;

  constructor(nested: NestedTransactions) {
    super();
    this.queries = new NestedQueries(nested);
    this.query = ((...args: unknown[]) => this.queries.send(args)) as Client['query'];
    this.connect = ((callback?: (error: null) => void) =>
      callback ? callback(null) : Promise.resolve(this)) as Client['connect'];
    this.end = ((callback?: () => void) => {
      this.release();
      return callback ? callback() : Promise.resolve();
    }) as Client['end'];
  }

  /** Rolls back what is still open. May be called more than once. */
  release(): void {
    this.queries.release();
  }
}
