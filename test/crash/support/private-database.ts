import { randomBytes } from 'node:crypto';
import pg from 'pg';

/** A database and an ordinary role of one scenario, on a server that others use too. */
export class PrivateDatabase {
  readonly name = `crash_${randomBytes(4).toString('hex')}`;
  private readonly password = randomBytes(12).toString('hex');
  private readonly server: pg.Pool;

  private constructor(private readonly serverUrl: string) {
    this.server = new pg.Pool({ connectionString: serverUrl, max: 1 });
    // Tests stop servers on purpose.
    this.server.on('error', () => undefined);
  }

  static async create(serverUrl: string): Promise<PrivateDatabase> {
    const database = new PrivateDatabase(serverUrl);
    const { name, password } = database;
    await database.server.query(`create role ${name} login password '${password}'`);
    await database.server.query(`create database ${name} owner ${name}`);
    return database;
  }

  /** Connects as the role. */
  get url(): string {
    const url = new URL(this.serverUrl);
    url.username = this.name;
    url.password = this.password;
    url.pathname = this.name;
    return url.href;
  }

  /** Connects as the server's own user, whom no limit of the role concerns. */
  get ownerUrl(): string {
    const url = new URL(this.serverUrl);
    url.pathname = this.name;
    return url.href;
  }

  /** What `role` or `database` is altered to, for new connections; those that there are end. */
  async alter(what: 'role' | 'database', setting: string): Promise<void> {
    await this.server.query(`alter ${what} ${this.name} ${setting}`);
    await this.endConnections(`usename = '${this.name}'`);
  }

  /** Takes back what `alter` did. */
  async heal(): Promise<void> {
    await this.server.query(`alter role ${this.name} connection limit -1`);
    await this.server.query(`alter database ${this.name} reset all`);
  }

  async endConnections(where: string): Promise<number> {
    const { rowCount } = await this.server.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and ${where}`,
      [this.name],
    );
    return rowCount ?? 0;
  }

  /** Transactions that were rolled back in it so far, as of a second ago. */
  async rollbacks(): Promise<number> {
    const { rows } = await this.server.query<{ n: number }>(
      'select xact_rollback::int as n from pg_stat_database where datname = $1',
      [this.name],
    );
    return rows[0]!.n;
  }

  async drop(): Promise<void> {
    await this.server.query(`drop database if exists ${this.name} with (force)`);
    await this.server.query(`drop role if exists ${this.name}`);
    await this.leave();
  }

  /** Leaves the database as it is. */
  async leave(): Promise<void> {
    await this.server.end();
  }
}
