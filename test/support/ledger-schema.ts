import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { listMigrations } from '../../lib/postgres/migrator.js';
import { PostgresLedger } from '../../lib/postgres/postgres-ledger.js';
import type { PostgresLedgerOptions } from '../../lib/postgres/postgres-ledger.options.js';

export function databaseUrl(): string {
  const url = process.env['DATABASE_URL'];
  if (url === undefined) throw new Error('Set DATABASE_URL to a Postgres server that tests may use');
  return url;
}

/** A ledger schema of one test's own, a connection beside the ledger's, and what has to be put away afterwards. */
export class LedgerSchema {
  readonly schema: string;
  readonly pool = new pg.Pool({ connectionString: databaseUrl(), max: 4 });
  private readonly ledgers: PostgresLedger[] = [];

  constructor(schema = `ledger_test_${randomBytes(4).toString('hex')}`) {
    this.schema = schema;
    // Tests end connections on purpose.
    this.pool.on('error', () => undefined);
  }

  get quoted(): string {
    return pg.escapeIdentifier(this.schema);
  }

  create(options: Partial<PostgresLedgerOptions> = {}): PostgresLedger {
    const ledger = new PostgresLedger({ connection: databaseUrl(), schema: this.schema, ...options });
    this.ledgers.push(ledger);
    return ledger;
  }

  async open(options: Partial<PostgresLedgerOptions> = {}): Promise<PostgresLedger> {
    const ledger = this.create(options);
    await ledger.open();
    return ledger;
  }

  /** The schema as versions of the library before this one left it. */
  async createVersion(last: number): Promise<void> {
    await this.query('create schema {schema}');
    for (const { version, file } of await listMigrations()) {
      const text = await readFile(file, 'utf8');
      if (version <= last) await this.query(text.replaceAll(':"schema"', '{schema}'));
    }
  }

  /** Where the tests' handlers write: an append-only log without a unique constraint. */
  async createEffects(): Promise<void> {
    await this.pool.query(`create table if not exists ${this.quoted}.effect (text text)`);
  }

  async effects(): Promise<string[]> {
    const { rows } = await this.pool.query<{ text: string }>(`select text from ${this.quoted}.effect`);
    return rows.map(({ text }) => text);
  }

  async query<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> {
    return (await this.pool.query<R>(text.replaceAll('{schema}', this.quoted), values)).rows;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.ledgers.map((ledger) => ledger.close()));
    await this.pool.query(`drop schema if exists ${this.quoted} cascade`);
    await this.pool.end();
  }
}
