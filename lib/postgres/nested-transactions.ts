import type { QueryResult } from 'pg';
import { WrongCallOrderError } from '../errors/errors.js';
import { settlesWithin, type Clock } from '../runtime/clock.js';
import { deferred, type Deferred } from '../runtime/deferred.js';
import { endedMessage, type TransactionClient } from './transaction-client.js';

/** Whoever may have a nested transaction open: a client, or the pool itself. Compared by identity. */
export type Querier = object;

/** Milliseconds that others wait for the end of a nested transaction: longer, and it probably waits for them. */
const PATIENCE = 5_000;

const busyMessage =
  `A query waited ${PATIENCE} ms for a nested transaction of the same handler to end. All of them share the message's ` +
  'one connection: inside a nested transaction use its own client, and await it before going on with others.';

/**
 * Nested transactions within the transaction of one handler's run, as savepoints. One client at a time may have some
 * open: what another did meanwhile would be undone by their rollback. The others wait for it.
 */
export class NestedTransactions {
  private owner: Querier | undefined;
  /** Names of the savepoints that are open, outermost first. */
  private readonly savepoints: string[] = [];
  private count = 0;
  private freed: Deferred<void> | undefined;

  constructor(
    readonly client: TransactionClient,
    private readonly clock: Clock,
    private readonly isOver: () => boolean,
  ) {}

  /** @throws WrongCallOrderError once the handler has returned. */
  expectLive(): void {
    if (this.isOver()) throw new WrongCallOrderError(endedMessage);
  }

  get isOpen(): boolean {
    return this.savepoints.length > 0;
  }

  depthOf(querier: Querier): number {
    return this.owner === querier ? this.savepoints.length : 0;
  }

  /** Whether nobody else has a nested transaction open. */
  mayGo(querier: Querier): boolean {
    return this.owner === undefined || this.owner === querier;
  }

  /**
   * Resolves with what `work` does, which is called when `querier` may go.
   * @throws WrongCallOrderError if that takes too long.
   */
  async inTurn<T>(querier: Querier, work: () => Promise<T>): Promise<T> {
    const deadline = this.clock.monotonic() + PATIENCE;
    while (!this.mayGo(querier)) {
      this.freed ??= deferred();
      const left = deadline - this.clock.monotonic();
      if (left <= 0 || !(await settlesWithin(this.clock, this.freed.promise, left))) {
        throw new WrongCallOrderError(busyMessage);
      }
    }
    this.expectLive();
    // At once: whoever else was waiting looks again before it goes.
    return work();
  }

  /** Call it in one's turn. */
  async begin(querier: Querier): Promise<QueryResult> {
    const savepoint = `durable_nested_${++this.count}`;
    this.owner = querier;
    this.savepoints.push(savepoint);
    try {
      return await this.client.query(`savepoint ${savepoint}`);
    } catch (error) {
      this.pop();
      throw error;
    }
  }

  /** The outer transaction decides in the end. Leaves it open if it can only be rolled back. */
  async commit(): Promise<QueryResult> {
    const result = await this.client.query(
      `release savepoint ${this.savepoints[this.savepoints.length - 1]!}`,
    );
    this.pop();
    return result;
  }

  async rollback(): Promise<QueryResult> {
    const savepoint = this.savepoints[this.savepoints.length - 1]!;
    try {
      await this.client.query(`rollback to savepoint ${savepoint}`);
      return await this.client.query(`release savepoint ${savepoint}`);
    } finally {
      this.pop();
    }
  }

  private pop(): void {
    this.savepoints.pop();
    if (this.savepoints.length > 0) return;
    this.owner = undefined;
    this.freed?.resolve();
    this.freed = undefined;
  }
}
