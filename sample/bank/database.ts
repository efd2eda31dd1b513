import { Client, type Pool } from 'pg';
import type { Names } from './names.js';
import { accounts, initialBalance } from './transfers.js';

/** The same URL with the bank's schema as its search path, so that the services' SQL needs no schema names. */
export function withSearchPath(databaseUrl: string, schema: string): string {
  const url = new URL(databaseUrl);
  const options = [url.searchParams.get('options'), `-c search_path=${schema}`].filter(Boolean).join(' ');
  url.searchParams.delete('options');
  const rest = url.searchParams.toString();
  // Postgres reads %20, not the plus sign that URLSearchParams writes.
  url.search = `${rest ? `${rest}&` : ''}options=${encodeURIComponent(options)}`;
  return url.href;
}

/** Tables and accounts. The journal has no unique constraint: it shows what happened. */
export async function createBank(pool: Pool, { bankSchema }: Names): Promise<void> {
  await pool.query(`
    create schema ${bankSchema};
    create table ${bankSchema}.account (id integer primary key, balance integer not null);
    create table ${bankSchema}.journal (
      line bigint generated always as identity primary key,
      transfer_id integer not null,
      payer integer not null,
      payee integer not null,
      amount integer not null,
      booked_at timestamptz not null default clock_timestamp()
    );
    create index journal_transfer on ${bankSchema}.journal (transfer_id);
    insert into ${bankSchema}.account select id, ${initialBalance} from generate_series(1, ${accounts}) id;
  `);
}

/** Waits for nobody: connections that processes of this run left behind are ended first. */
export async function dropBank(databaseUrl: string, { bankSchema, durableSchema }: Names): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query('set lock_timeout = 10000');
    await client.query(`drop schema if exists ${bankSchema} cascade`);
    await client.query(`drop schema if exists ${durableSchema} cascade`);
  } finally {
    await client.end();
  }
}

/** How far a service has come, out of the transfers numbered `first` to `last`. */
export async function bookedOf(
  pool: Pool,
  { bankSchema }: Names,
  first: number,
  last: number,
): Promise<{ booked: number; lines: number }> {
  const { rows } = await pool.query<{ booked: number; lines: number }>({
    name: `${bankSchema}.booked`,
    text: `select count(distinct transfer_id)::integer as booked, count(*)::integer as lines
             from ${bankSchema}.journal where transfer_id between $1 and $2`,
    values: [first, last],
  });
  return rows[0]!;
}

export interface Books {
  /** Journal lines per transfer number. */
  readonly lines: ReadonlyMap<number, number>;
  /** Index 0 is account 1. */
  readonly balances: readonly number[];
}

export async function readBooks(pool: Pool, { bankSchema }: Names): Promise<Books> {
  const journal = await pool.query<{ transfer_id: number; lines: number }>(
    `select transfer_id, count(*)::integer as lines from ${bankSchema}.journal group by transfer_id`,
  );
  const balances = await pool.query<{ balance: number }>(
    `select balance from ${bankSchema}.account order by id`,
  );
  return {
    lines: new Map(journal.rows.map((row) => [row.transfer_id, row.lines])),
    balances: balances.rows.map((row) => row.balance),
  };
}
