import type { PoolClient, QueryResult } from 'pg';
import { isConnectionLoss, sqlState } from './ledger-connection-error.js';
import type { Parameter } from './parameters.js';
import { ledgerTypes, type Row } from './result-types.js';
import type { Statement } from './statements.js';
import { settlesWithin, type Clock } from '../runtime/clock.js';
import { requestCancel } from './cancel-request.js';

/** A statement with its parameters, ready to be sent. */
export type Call = readonly [statement: Statement, values?: readonly Parameter[]];

/** How a batch ended. */
export interface BatchResult {
  /** One per call; rows that never came are empty. */
  readonly rows: readonly (readonly Row[])[];
  /** One per call: rows read or changed. */
  readonly rowCounts: readonly number[];
  /** The first failure; what followed it in a transaction failed as its consequence. */
  readonly error: unknown;
  /** The command that the last statement ended with: `COMMIT` may turn out as `ROLLBACK`. */
  readonly command: string | undefined;
  /** Whether the last statement was sent at all. */
  readonly lastSent: boolean;
}

/** Milliseconds that a rollback may take. One that takes longer waits for a query that does not end. */
const ROLLBACK_PATIENCE = 500;

/**
 * What a connection is of no more use after: it refuses writes (25006), or does not have the prepared statements that it is
 * taken to have (26000, 42P05), or has them for tables that have changed (0A000).
 */
const UNFIT = /^(?:25006|26000|42P05|0A000)$/;

/**
 * One connection while it is checked out of the pool. Notices when it breaks, and never goes back to the pool broken or
 * inside a transaction.
 */
export class Session {
  private lost = false;
  private unfit = false;
  private released = false;
  private gathering = false;
  private cutting: Promise<void> | undefined;

  constructor(
    readonly client: PoolClient,
    private readonly clock: Clock,
    private readonly onRelease: (session: Session) => void,
  ) {
    // Without a listener the loss of a checked-out connection would end the process.
    client.on('error', this.onLoss);
    client.on('end', this.onLoss);
  }

  /** `true` once the connection is gone. */
  get broken(): boolean {
    return this.lost;
  }

  /** Has `error` tell whether the connection is gone, for queries that did not run through this session. */
  note(error: unknown): void {
    if (isConnectionLoss(error)) this.lost = true;
    if (UNFIT.test(sqlState(error) ?? '')) this.unfit = true;
  }

  /**
   * The connection takes no writes. It goes no further than its release: what made it so may be a default that it keeps
   * for life, and behind one address another server may be the primary by now.
   */
  noteReadOnly(): void {
    this.unfit = true;
  }

  async run(statement: Statement, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    try {
      return (await this.query([statement, values])).rows;
    } catch (error) {
      this.note(error);
      throw error;
    }
  }

  /**
   * Runs statements in order, in one round trip if the connection pipelines; otherwise one after the other, and nothing
   * after a failure. Never rejects.
   */
  batch(calls: readonly Call[]): Promise<BatchResult> {
    return this.client.pipeline === true && calls.length > 1 ? this.pipelined(calls) : this.sequential(calls);
  }

  /**
   * Has what is sent from now on until the end of this turn leave in one packet: where many handlers write at once, a
   * system call for each of their statements would cost more than all the rest.
   */
  gather(): void {
    const stream = this.client.connection?.stream;
    if (this.gathering || !stream) return;
    this.gathering = true;
    stream.cork();
    void Promise.resolve().then(() => {
      this.gathering = false;
      stream.uncork();
    });
  }

  /** Gives the connection back, or ends it if it is of no more use. Idempotent. */
  release(): void {
    if (this.released) return;
    this.released = true;
    this.client.off('error', this.onLoss);
    this.client.off('end', this.onLoss);
    const status = this.client.getTransactionStatus?.();
    const unusable = this.lost || this.unfit || (status !== 'I' && status != null);
    this.onRelease(this);
    this.client.release(unusable);
  }

  /** Ends the transaction if one is open, within a bounded time: a query that does not end is cut. Never rejects. */
  async rollback(): Promise<void> {
    if (this.released || this.lost || this.client.getTransactionStatus?.() === 'I') return;
    const rolledBack = this.batch([[{ text: 'rollback' }]]);
    const inTime = await settlesWithin(this.clock, rolledBack, ROLLBACK_PATIENCE);
    // A connection that cannot even roll back must not be used again.
    if (!inTime || (await rolledBack).error !== undefined) await this.cut();
  }

  /**
   * Ends the connection and what it is doing: without its consent the server would go on with that, and keep its locks.
   * The session is of no more use, since the cancellation may also hit what comes next on it. Idempotent; never rejects.
   */
  cut(): Promise<void> {
    this.cutting ??= this.cutNow();
    return this.cutting;
  }

  private async cutNow(): Promise<void> {
    if (this.released) return;
    if (!this.lost) await requestCancel(this.client, this.clock);
    this.destroy();
  }

  /** Ends our side of the connection, whatever it is doing. Idempotent. */
  private destroy(): void {
    if (this.released) return;
    this.lost = true;
    // A pipelined client that is told to end waits for its queries first, and these may wait for a twin.
    this.client.connection?.stream.destroy();
    this.release();
  }

  private async pipelined(calls: readonly Call[]): Promise<BatchResult> {
    // One packet for all of them.
    const stream = this.client.connection?.stream;
    stream?.cork();
    const pending = calls.map((call) => this.query(call));
    stream?.uncork();
    const settled = await Promise.allSettled(pending);
    let error: unknown;
    const results = settled.map((result) => {
      if (result.status === 'fulfilled') return result.value;
      this.note(result.reason);
      error ??= result.reason;
      return undefined;
    });
    return batchResult(results, error, true);
  }

  private async sequential(calls: readonly Call[]): Promise<BatchResult> {
    const results: (QueryResult<Row> | undefined)[] = calls.map(() => undefined);
    for (const [index, call] of calls.entries()) {
      try {
        results[index] = await this.query(call);
      } catch (error) {
        this.note(error);
        return batchResult(results, error, index === calls.length - 1);
      }
    }
    return batchResult(results, undefined, true);
  }

  private async query([statement, values]: Call): Promise<QueryResult<Row>> {
    // Without parameters and name it goes out as a simple query, which may hold several statements.
    const config =
      values === undefined
        ? { text: statement.text, types: ledgerTypes }
        : { text: statement.text, name: statement.name, values: values as Parameter[], types: ledgerTypes };
    const result: QueryResult<Row> | QueryResult<Row>[] = await this.client.query<Row>(config);
    return Array.isArray(result) ? result.at(-1)! : result;
  }

  private readonly onLoss = (): void => {
    this.lost = true;
  };
}

function batchResult(
  results: readonly (QueryResult<Row> | undefined)[],
  error: unknown,
  lastSent: boolean,
): BatchResult {
  return {
    rows: results.map((result) => result?.rows ?? []),
    rowCounts: results.map((result) => result?.rowCount ?? 0),
    error,
    command: results.at(-1)?.command,
    lastSent,
  };
}
