import { Client, type Pool } from 'pg';
import { LedgerUnreachableError } from '../errors/errors.js';
import { settlesWithin, type Clock } from '../runtime/clock.js';
import { connectError, statementError } from './ledger-connection-error.js';
import type { Parameter } from './parameters.js';
import { ledgerTypes, type Row } from './result-types.js';
import type { Statement } from './statements.js';

/** Milliseconds that an answer may take. Who waits longer takes the connection for lost. */
const PATIENCE = 5_000;

/**
 * A machine that is switched off ends no connection: the server is to find out within seconds, where its default is hours.
 */
const KEEP_ALIVE =
  'set tcp_keepalives_idle = 2; set tcp_keepalives_interval = 1; set tcp_keepalives_count = 3';

interface Standing {
  readonly client: Client;
  /** Of the advisory lock that the session holds. `null` behind a pooler, where sessions are shared. */
  readonly lockKey: string | null;
}

/**
 * A session of its own, outside the pool, whose advisory lock says that this process lives. Made anew, with another lock,
 * when it is lost.
 */
export class Presence {
  private standing: Standing | undefined;
  private closed = false;

  constructor(
    private readonly pool: Pool,
    private readonly target: string,
    private readonly clock: Clock,
  ) {}

  /** Resolves with the key of the lock, or `null` where there is a pooler. @throws LedgerUnreachableError */
  async prove(): Promise<string | null> {
    this.standing ??= await this.stand();
    return this.standing.lockKey;
  }

  /** One statement on this session. @throws LedgerUnreachableError */
  async run(statement: Statement, values: readonly Parameter[]): Promise<readonly Row[]> {
    const { standing } = this;
    if (standing === undefined) throw new LedgerUnreachableError('The session of this instance was lost');
    try {
      return await this.ask(standing.client, statement.text, values);
    } catch (error) {
      this.lose(standing.client);
      throw statementError(error, this.target);
    }
  }

  /** Ends the session, and with it the lock. Idempotent. */
  close(): void {
    this.closed = true;
    const client = this.standing?.client;
    this.standing = undefined;
    client?.end().catch(() => undefined);
  }

  private async stand(): Promise<Standing> {
    // As the pool makes its own, which may be of a class that the application chose.
    const { Client: Made = Client } = this.pool as Pool & { readonly Client?: typeof Client };
    const client = new Made(this.pool.options);
    client.on('error', () => this.lose(client));
    client.on('end', () => this.lose(client));
    try {
      await this.within(client.connect(), 'a connection');
      if (this.closed) throw new LedgerUnreachableError('The ledger was closed meanwhile');
      // Upkeep keeps no process alive.
      (client as Client & { unref(): void }).unref();
      return { client, lockKey: await this.lock(client) };
    } catch (error) {
      this.lose(client);
      throw connectError(error, this.target);
    }
  }

  private async lock(client: Client): Promise<string | null> {
    const [backend] = await this.ask(client, 'select pg_backend_pid() as pid', []);
    // A pooler answers for itself when a connection begins; the backend behind it has another id.
    const { processID } = client as Client & { readonly processID?: number | null };
    if (Number(backend!['pid']) !== processID) return null;
    await this.ask(client, KEEP_ALIVE);
    const key = BigInt.asIntN(64, BigInt(`0x${this.clock.uuid().replaceAll('-', '').slice(16)}`));
    await this.ask(client, 'select pg_advisory_lock($1::bigint)', [String(key)]);
    return String(key);
  }

  private async ask(client: Client, text: string, values?: readonly Parameter[]): Promise<readonly Row[]> {
    const config = values === undefined ? { text } : { text, values: [...values], types: ledgerTypes };
    const result = await this.within(client.query<Row>(config), 'an answer');
    return result.rows;
  }

  private async within<T>(work: Promise<T>, what: string): Promise<T> {
    if (await settlesWithin(this.clock, work, PATIENCE)) return work;
    work.catch(() => undefined);
    throw new LedgerUnreachableError(
      `Postgres at ${this.target} kept an instance waiting for ${what} for ${PATIENCE} ms`,
    );
  }

  private lose(client: Client): void {
    if (this.standing?.client === client) this.standing = undefined;
    (
      client as Client & { readonly connection?: { stream: { destroy(): void } } }
    ).connection?.stream.destroy();
  }
}
