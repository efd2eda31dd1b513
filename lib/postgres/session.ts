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

/** What became of a call. */
interface Answer {
  readonly error: unknown;
  readonly result?: QueryResult<Row> | undefined;
}

/** Milliseconds that a rollback may take. One that takes longer waits for a query that does not end. */
const ROLLBACK_PATIENCE = 500;

/** SQLSTATE of a write that was refused. */
const READ_ONLY = '25006';

/**
 * One connection while it is checked out of the pool. Notices when it breaks, and never goes back to the pool broken or
 * inside a transaction.
 */
export class Session {
  private lost = false;
  private readOnly = false;
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
    if (sqlState(error) === READ_ONLY) this.noteReadOnly();
  }

  /**
   * The connection takes no writes. It goes no further than its release: what made it so may be a default that it keeps
   * for life, and behind one address another server may be the primary by now.
   */
  noteReadOnly(): void {
    this.readOnly = true;
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
    const unusable = this.lost || this.readOnly || (status !== 'I' && status != null);
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

  private pipelined(calls: readonly Call[]): Promise<BatchResult> {
    const answers: (Answer | undefined)[] = calls.map(() => undefined);
    let missing = calls.length;
    // One packet for all of them.
    const stream = this.client.connection?.stream;
    stream?.cork();
    const answered = new Promise<BatchResult>((resolve) => {
      calls.forEach((call, index) =>
        this.send(call, (error, result) => {
          if (answers[index]) return;
          answers[index] = { error, result };
          if (error) this.note(error);
          if (--missing === 0) resolve(batchResult(answers, true));
        }),
      );
    });
    stream?.uncork();
    return answered;
  }

  private async sequential(calls: readonly Call[]): Promise<BatchResult> {
    const answers: (Answer | undefined)[] = calls.map(() => undefined);
    for (const [index, call] of calls.entries()) {
      try {
        answers[index] = { error: null, result: await this.query(call) };
      } catch (error) {
        this.note(error);
        answers[index] = { error };
        return batchResult(answers, index === calls.length - 1);
      }
    }
    return batchResult(answers, true);
  }

  private query(call: Call): Promise<QueryResult<Row>> {
    return new Promise((resolve, reject) => {
      this.send(call, (error, result) => (error ? reject(error) : resolve(result!)));
    });
  }

  /** By a callback: `pg` makes three promises of a query without one, each of which costs a microsecond. */
  private send(
    [statement, values]: Call,
    answer: (error: Error | null, result?: QueryResult<Row>) => void,
  ): void {
    // Without parameters and name it goes out as a simple query, which may hold several statements.
    const config =
      values === undefined
        ? { text: statement.text, types: ledgerTypes }
        : { text: statement.text, name: statement.name, values: values as Parameter[], types: ledgerTypes };
    this.client.query<Row>(config, (error, result: QueryResult<Row> | QueryResult<Row>[]) =>
      answer(error, Array.isArray(result) ? result.at(-1) : result),
    );
  }

  private readonly onLoss = (): void => {
    this.lost = true;
  };
}

function batchResult(answers: readonly (Answer | undefined)[], lastSent: boolean): BatchResult {
  return {
    rows: answers.map((answer) => answer?.result?.rows ?? []),
    rowCounts: answers.map((answer) => answer?.result?.rowCount ?? 0),
    error: answers.find((answer) => answer?.error)?.error,
    command: answers.at(-1)?.result?.command,
    lastSent,
  };
}
