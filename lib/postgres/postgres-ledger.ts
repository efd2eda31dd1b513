import { hostname } from 'node:os';
import { Pool } from 'pg';
import {
  ConnectionClosedError,
  FencedError,
  LedgerSchemaError,
  LedgerUnreachableError,
  WrongCallOrderError,
} from '../errors/errors.js';
import type {
  Conclusion,
  Fence,
  FenceTaken,
  KnownExecution,
  Lane,
  Ledger,
  Scope,
  TransactionOptions,
} from '../execution/ledger.js';
import { fencedMessage } from './claim-lane.js';
import { conclude } from './conclude.js';
import { DispatchedMarks } from './dispatched-marks.js';
import { FloatingQueries } from './floating-queries.js';
import { FreshKeys } from './fresh-keys.js';
import { knownExecution } from './known-execution.js';
import { LedgerPool } from './ledger-pool.js';
import { checkSchema, migrate } from './migrator.js';
import { byteaArray } from './parameters.js';
import {
  isPool,
  resolveOptions,
  type PostgresLedgerOptions,
  type ResolvedPostgresLedgerOptions,
} from './postgres-ledger.options.js';
import { PostgresCare } from './postgres-care.js';
import { PostgresClaims } from './postgres-claims.js';
import { PostgresFailures } from './postgres-failures.js';
import { PostgresMembers } from './postgres-members.js';
import { PostgresParking } from './postgres-parking.js';
import { PostgresReader } from './postgres-reader.js';
import { PostgresStepJournal } from './postgres-step-journal.js';
import { PostgresTransaction } from './postgres-transaction.js';
import { PostgresRedrive } from './postgres-redrive.js';
import { PostgresTruncations } from './postgres-truncations.js';
import { ScopeIds } from './scope-ids.js';
import { createStatements, type Statements } from './statements.js';
import { takeFence } from './take-fence.js';
import type { RefuseFloating } from './transaction-client.js';

interface Opened {
  readonly pool: LedgerPool;
  readonly scopes: ScopeIds;
  readonly marks: DispatchedMarks;
}

/** Connections for what the ledger does beside the groups' transactions: fences, endings, marks. */
const OWN_CONNECTIONS = 2;

/** The ledger in Postgres. Every process has one; what they share is the database. */
export class PostgresLedger implements Ledger {
  readonly reader: PostgresReader;
  readonly care: PostgresCare;
  readonly failures: PostgresFailures;
  readonly parking: PostgresParking;
  readonly redrives: PostgresRedrive;
  readonly truncations: PostgresTruncations;
  readonly members: PostgresMembers;
  readonly steps: PostgresStepJournal;
  readonly claims: PostgresClaims;
  private readonly options: ResolvedPostgresLedgerOptions;
  private readonly statements: Statements;
  /** Whose the fences are: readable for people, and different for each ledger of a process. */
  private readonly owner: string;
  private readonly freshKeys = new FreshKeys();
  private readonly refuseFloating: RefuseFloating;
  private opening: Promise<void> | undefined;
  private opened: Opened | undefined;
  private closing: Promise<void> | undefined;

  constructor(options: PostgresLedgerOptions) {
    this.options = resolveOptions(options);
    const { schema, prepare, clock } = this.options;
    this.statements = createStatements(schema, prepare);
    this.owner = `${hostname()}/${process.pid}/${clock.uuid().slice(-8)}`;
    this.refuseFloating = new FloatingQueries(this.options.log, this.options.whoseRun).refuse;
    const pool = () => this.parts().pool;
    this.reader = new PostgresReader(schema, pool);
    this.care = new PostgresCare(schema, this.owner, pool);
    this.failures = new PostgresFailures(schema, () => this.parts());
    this.parking = new PostgresParking(schema, this.statements, () => this.parts());
    this.redrives = new PostgresRedrive(schema, this.statements, () => this.parts());
    this.truncations = new PostgresTruncations(schema, this.statements, clock, () => this.parts());
    this.members = new PostgresMembers(schema, this.owner, pool, clock);
    const parts = () => this.parts();
    this.steps = new PostgresStepJournal(this.statements, parts);
    this.claims = new PostgresClaims(schema, prepare, this.statements, this.owner, parts);
  }

  /** The pool that the ledger works with, for whoever shares it. */
  get pool(): Pool {
    return this.parts().pool.pool;
  }

  /** A failed `open` leaves nothing open and may be tried again. */
  async open(): Promise<void> {
    if (this.closing !== undefined) throw new ConnectionClosedError('The ledger has been closed');
    this.opening ??= this.openNow();
    try {
      await this.opening;
    } catch (error) {
      this.opening = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.closing ??= this.closeNow();
    return this.closing;
  }

  reserve(transactions: number): void {
    this.parts().pool.reserve(transactions + OWN_CONNECTIONS, this.options.sizeIsGiven);
  }

  async ping(): Promise<void> {
    const { pool } = this.parts();
    const { readOnly } = await pool.readServerFacts();
    if (readOnly) throw new LedgerUnreachableError(readOnlyMessage(pool.target));
  }

  async takeFence(lane: Lane, confirm: () => Promise<boolean>): Promise<FenceTaken> {
    const { pool, scopes, marks } = this.parts();
    const taken = await takeFence(pool, this.statements, scopes, lane, this.owner, confirm, this.options.log);
    return { ...taken, undispatched: taken.undispatched.filter(({ id }) => !marks.has(id)) };
  }

  /** Without waiting for the disk: a fence that fell back in a crash stands lower, and rows tell the rest. */
  async moveFence({ lane, epoch }: Fence, nextOffset: bigint): Promise<void> {
    const { pool, scopes } = this.parts();
    const scopeId = await scopes.of(lane.scope);
    const position = [scopeId, lane.topicId, lane.partition, String(epoch), String(nextOffset)];
    const { rows } = await pool.transaction([
      [{ text: 'set local synchronous_commit = off' }],
      [this.statements.moveFence, position],
    ]);
    if (rows[1]![0]!['held'] !== '1') throw new FencedError(fencedMessage(lane, epoch));
  }

  transaction(options?: TransactionOptions): PostgresTransaction {
    const { pool, scopes } = this.parts();
    return new PostgresTransaction(
      pool,
      this.statements,
      scopes,
      this.freshKeys,
      this.refuseFloating,
      options,
    );
  }

  async findExecution(scope: Scope, key: Buffer): Promise<KnownExecution | undefined> {
    const { pool, scopes } = this.parts();
    const values = [await scopes.of(scope), byteaArray([key])];
    const [row] = await pool.run(this.statements.findExecutions, values);
    return row && knownExecution(row);
  }

  async findReplies(scope: Scope, keys: readonly Buffer[]): Promise<Map<string, Buffer>> {
    const { pool, scopes } = this.parts();
    if (keys.length === 0) return new Map();
    const rows = await pool.run(this.statements.findReplies, [await scopes.of(scope), byteaArray(keys)]);
    return new Map(rows.map((row) => [(row['key'] as Buffer).toString('latin1'), row['body'] as Buffer]));
  }

  async conclude(conclusion: Conclusion): Promise<KnownExecution | undefined> {
    const { pool, scopes } = this.parts();
    return conclude(pool, this.statements, scopes, conclusion);
  }

  markDispatched(ids: readonly string[]): void {
    this.opened?.marks.add(ids);
  }

  private async openNow(): Promise<void> {
    const { connection, schema, applicationName, clock, log } = this.options;
    const owned = !isPool(connection);
    const pool = new LedgerPool(
      owned ? new Pool({ allowExitOnIdle: true, ...connection }) : connection,
      owned,
      applicationName,
      clock,
      log,
    );
    try {
      const { readOnly, encoding } = await pool.readServerFacts();
      if (readOnly) throw new LedgerUnreachableError(readOnlyMessage(pool.target));
      if (encoding !== 'UTF8' && encoding !== 'SQL_ASCII') {
        throw new LedgerSchemaError(
          `The database at ${pool.target} has encoding ${encoding}; the ledger needs one with encoding UTF8`,
        );
      }
      if (this.options.migrate) await migrate(pool, schema, log);
      else await checkSchema(pool, schema);
      const scopes = new ScopeIds(pool, this.statements);
      const marks = new DispatchedMarks(pool, this.statements, clock, log);
      this.opened = { pool, scopes, marks };
      await this.care.beat();
    } catch (error) {
      this.opened = undefined;
      await pool.close();
      throw error;
    }
  }

  /** Lets others have the lanes. Who can't be told finds out by the silence. */
  private async leave(): Promise<void> {
    try {
      await this.care.leave();
    } catch (error) {
      this.options.log.debug(`The ledger closes without saying so: ${String(error)}`);
    }
  }

  private async closeNow(): Promise<void> {
    // An open() under way has to end first, or its pool would stay behind.
    await this.opening?.catch(() => undefined);
    if (this.opened === undefined) return;
    await this.opened.marks.close();
    await this.members.withdraw();
    await this.leave();
    await this.opened.pool.close();
  }

  private parts(): Opened {
    if (this.opened === undefined) throw new WrongCallOrderError('The ledger is used before it was opened');
    return this.opened;
  }
}

function readOnlyMessage(target: string): string {
  return (
    `Postgres at ${target} is read-only (a standby, or default_transaction_read_only is on). Point the option ` +
    '"connection" at the primary; with several hosts behind one name, at the one that takes writes.'
  );
}
