import { Pool, type PoolClient, type PoolConfig } from 'pg';
import { InvalidOptionError, NoTransactionError } from '../errors/errors.js';
import { NestedClient } from './nested-client.js';
import { NestedQueries } from './nested-queries.js';
import type { NestedTransactions } from './nested-transactions.js';
import { isPool, type PostgresLedgerOptions } from './postgres-ledger.options.js';
import { refuse, type RefuseFloating } from './transaction-client.js';

/**
 * The run that a piece of code belongs to: `ended` if it outlived it, `none` if it has no transaction, `undefined` outside
 * of any.
 */
export type CurrentRun = () => NestedTransactions | 'ended' | 'none' | undefined;

type ConnectCallback = (
  error: Error | undefined,
  client: PoolClient | undefined,
  release: (error?: Error | boolean) => void,
) => void;

/**
 * A `pg.Pool` for code that takes one: Drizzle, Kysely, Prisma's pg adapter, repositories on plain `pg`.
 *
 * Inside a durable handler (and within `DurableLedger.transaction`) its queries run in the message's transaction, and
 * commit with it or not at all. A transaction begun there is a savepoint: its ROLLBACK undoes its own part, its COMMIT is
 * final only with the message. Other isolation levels are refused. While one client has such a transaction open, queries
 * of others wait for it. Queries after the handler's end are refused.
 *
 * In claim mode it works within `durable.transaction(name, fn)` only, and is refused in the rest of the handler.
 *
 * Outside it is an ordinary pool: a pool that was given as `connection`, else one of its own.
 */
export class DurablePool extends Pool {
  private readonly given: Pool | undefined;
  private readonly isUsable: boolean;
  /** The pool as a client of its own, in each run. */
  private readonly queries = new WeakMap<NestedTransactions, NestedQueries>();

  /** Made by `DurableModule`. */
  constructor(
    connection: PostgresLedgerOptions['connection'] | undefined,
    private readonly current: CurrentRun,
    private readonly refuseFloating: RefuseFloating,
  ) {
    const given = connection !== undefined && isPool(connection) ? connection : undefined;
    super(given ? given.options : configOf(connection as string | PoolConfig | undefined));
    this.given = given;
    this.isUsable = connection !== undefined;
    // A pool without a listener would end the process when an idle connection breaks; it makes new ones by itself.
    this.on('error', () => undefined);
    this.query = ((...args: unknown[]) => this.send(args)) as Pool['query'];
    this.connect = ((callback?: ConnectCallback) => this.checkOut(callback)) as Pool['connect'];
  }

  /** Ends the pool's own connections; a pool that was given stays its owner's. Idempotent. */
  override end(callback?: () => void): Promise<void> & void {
    const ended = this.given || this.ending ? Promise.resolve() : super.end();
    return (callback ? void ended.then(callback) : ended) as never;
  }

  private send(args: unknown[]): unknown {
    return this.route('query', args, (run) => {
      let queries = this.queries.get(run);
      if (!queries) this.queries.set(run, (queries = new NestedQueries(run)));
      return queries.send(args);
    });
  }

  private checkOut(callback: ConnectCallback | undefined): unknown {
    return this.route('connect', callback ? [callback] : [], (run) => {
      const client = new NestedClient(run);
      if (callback === undefined) return Promise.resolve(client);
      return callback(undefined, client as unknown as PoolClient, () => client.release());
    });
  }

  /** To the handler's transaction; outside of handlers to the ordinary pool. */
  private route(
    method: 'query' | 'connect',
    args: unknown[],
    within: (run: NestedTransactions) => unknown,
  ): unknown {
    let run: NestedTransactions | 'ended' | undefined;
    try {
      run = this.currentRun();
    } catch (error) {
      return refuse(args, error as Error);
    }
    if (run === 'ended') return this.refuseFloating(args);
    if (run) return within(run);
    const ordinary = this.given ?? this;
    return Reflect.apply(this.given?.[method] ?? Pool.prototype[method], ordinary, args);
  }

  private currentRun(): NestedTransactions | 'ended' | undefined {
    if (!this.isUsable) {
      throw new InvalidOptionError(
        'DurableModule.connection',
        'is missing: DurablePool needs Postgres, and this application has another ledger',
      );
    }
    const run = this.current();
    if (run === 'none') throw new NoTransactionError('DurablePool');
    return run;
  }
}

function configOf(connection: string | PoolConfig | undefined): PoolConfig {
  const config = typeof connection === 'string' ? { connectionString: connection } : (connection ?? {});
  // ORMs use clients in ways that pipelining does not allow: cursors, several statements that depend on each other.
  return { ...config, pipeline: false } as PoolConfig;
}
