import type { Pool } from 'pg';
import { ConnectionClosedError, InvalidOptionError } from '../errors/errors.js';
import type { Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import { connectError, describeTarget, statementError } from './ledger-connection-error.js';
import type { Parameter } from './parameters.js';
import type { Row } from './result-types.js';
import { Session, type BatchResult, type Call } from './session.js';
import type { Statement } from './statements.js';

/** What a server says about itself; read once while opening. */
export interface ServerFacts {
  readonly readOnly: boolean;
  readonly encoding: string;
}

/**
 * The ledger's door to a `pg` pool: checks connections out as sessions, turns failures into the ledger's errors, and
 * begins transactions the way the ledger needs them.
 */
export class LedgerPool {
  /** `host:port/database as user "…"`, for messages. */
  readonly target: string;
  private readonly sessions = new Set<Session>();
  private asynchronousCommit = false;
  private nameTransactions = false;
  private closed = false;

  constructor(
    readonly pool: Pool,
    private readonly owned: boolean,
    private readonly applicationName: string,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.target = describeTarget(pool);
    // A pool without a listener would end the process when an idle connection breaks.
    pool.on('error', this.onIdleError);
  }

  /** Has the pool hold that many connections at least. */
  reserve(connections: number, sizeIsGiven: boolean): void {
    const { options } = this.pool;
    if (options.max >= connections) return;
    if (sizeIsGiven) {
      throw new InvalidOptionError(
        'DurableModule.connection',
        `is a pool of at most ${options.max} connections; with "concurrency" ${connections - 2} it needs ${connections}. ` +
          'Raise its "max", or lower "concurrency"',
      );
    }
    options.max = connections;
  }

  async acquire(): Promise<Session> {
    if (this.closed) throw new ConnectionClosedError('The ledger has been closed');
    try {
      const session = new Session(await this.pool.connect(), this.clock, (released) =>
        this.sessions.delete(released),
      );
      this.sessions.add(session);
      return session;
    } catch (error) {
      throw connectError(error, this.target);
    }
  }

  /** Runs `work` on a connection of its own. What it throws comes out as the ledger's errors. */
  async use<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.acquire();
    try {
      return await work(session);
    } catch (error) {
      session.note(error);
      throw this.mapped(error);
    } finally {
      session.release();
    }
  }

  /** One statement outside any transaction. */
  async run(statement: Statement, values: readonly Parameter[]): Promise<readonly Row[]> {
    return this.use((session) => session.run(statement, values));
  }

  /** A whole transaction of statements that do not depend on each other. Rejects with the first failure. */
  async transaction(calls: readonly Call[]): Promise<BatchResult> {
    return this.use(async (session) => {
      const result = await session.batch([this.begin(), ...calls, COMMIT]);
      if (result.error !== undefined) {
        if (!result.lastSent) await session.rollback();
        throw result.error;
      }
      return { ...result, rows: result.rows.slice(1, -1) };
    });
  }

  /**
   * READ COMMITTED whatever the database's default is: under stricter levels `on conflict do nothing` raises 40001 where
   * it should see its twin. `synchronous_commit = off` could forget commits after their offsets have moved.
   */
  begin(): Call {
    let text = 'begin isolation level read committed';
    if (this.asynchronousCommit) text += '; set local synchronous_commit = on';
    if (this.nameTransactions)
      text += `; set local application_name = '${this.applicationName.replaceAll("'", "''")}'`;
    return [{ text }];
  }

  /**
   * Takes what a server says of `synchronous_commit`. Off: warns once, has later transactions switch it on for
   * themselves, and returns `true` for the one under way to do the same.
   */
  noteSynchronousCommit(setting: unknown): boolean {
    if (setting !== 'off') return false;
    if (!this.asynchronousCommit) {
      this.asynchronousCommit = true;
      this.log.warn(
        `Postgres at ${this.target} has synchronous_commit = off, which may lose commits in a crash that Kafka's offsets ` +
          "have already passed. The ledger's transactions switch it on for themselves. To silence this: " +
          'alter role … set synchronous_commit = on.',
      );
    }
    return true;
  }

  async readServerFacts(): Promise<ServerFacts> {
    const row = await this.use(async (session) => {
      const [facts] = await session.run(SERVER_FACTS);
      if (facts!['read_only'] === 't') session.noteReadOnly();
      return facts!;
    });
    this.noteSynchronousCommit(row['synchronous_commit']);
    // Successors recognize a frozen predecessor by its application name.
    this.nameTransactions = row['application_name'] === '';
    return { readOnly: row['read_only'] === 't', encoding: String(row['encoding']) };
  }

  mapped(error: unknown): unknown {
    return statementError(error, this.target);
  }

  /** Ends open transactions by ending their connections, and the pool if it is ours. Idempotent. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    if (this.sessions.size > 0) {
      this.log.warn(`The ledger closes with ${this.sessions.size} connection(s) in use: they are ended`);
    }
    await Promise.all([...this.sessions].map((session) => session.cut()));
    if (this.owned) await this.pool.end();
    this.pool.off('error', this.onIdleError);
  }

  private readonly onIdleError = (error: Error): void => {
    this.log.warn(`An idle connection to Postgres at ${this.target} broke: ${error.message}`);
  };
}

const SERVER_FACTS: Statement = {
  text: `select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as read_only,
    current_setting('server_encoding') as encoding, current_setting('synchronous_commit') as synchronous_commit,
    current_setting('application_name') as application_name`,
};

export const COMMIT: Call = [{ text: 'commit' }];
