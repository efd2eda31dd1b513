import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { escapeIdentifier } from 'pg';
import { LedgerSchemaError } from '../errors/errors.js';
import type { Log } from '../runtime/log.js';
import type { LedgerPool } from './ledger-pool.js';
import type { Session } from './session.js';

const MIGRATIONS = new URL('./migrations/', import.meta.url);
const FILE_NAME = /^(\d{4})_(\w+)\.sql$/;
/** How the files name the schema; `psql -v schema=…` understands it too. */
const SCHEMA_VARIABLE = ':"schema"';

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly file: URL;
}

/** The migrations that this version of the library brings, in order. */
export async function listMigrations(): Promise<Migration[]> {
  const found = (await readdir(MIGRATIONS)).flatMap((file) => {
    const [, version, name] = FILE_NAME.exec(file) ?? [];
    return version === undefined || name === undefined
      ? []
      : [{ version: Number(version), name, file: new URL(file, MIGRATIONS) }];
  });
  return found.sort((left, right) => left.version - right.version);
}

/**
 * Brings the schema up to date; safe when many processes start at once. Needs no right to create anything if there is
 * nothing to do.
 * @throws LedgerSchemaError if the schema is newer than this library, or may not be created.
 */
export async function migrate(pool: LedgerPool, schema: string, log: Log): Promise<void> {
  const migrations = await listMigrations();
  let version = await checkedVersion(pool, schema, migrations);
  while (version < latestOf(migrations)) version = await migrateOnce(pool, schema, migrations, log);
}

/**
 * @throws LedgerSchemaError if the schema is missing, older or newer than this library, with what to do about it.
 */
export async function checkSchema(pool: LedgerPool, schema: string): Promise<void> {
  const migrations = await listMigrations();
  const version = await checkedVersion(pool, schema, migrations);
  if (version === latestOf(migrations)) return;
  const missing = migrations.filter((migration) => migration.version > version);
  const state = version === 0 ? 'is missing' : `has version ${version}`;
  throw new LedgerSchemaError(
    `The ledger's schema "${schema}" at ${pool.target} ${state}; this version of the library needs version ` +
      `${latestOf(migrations)}, and "migrate" is false. Start once with "migrate: true", or run: ${psqlCommand(schema, missing)}`,
  );
}

async function checkedVersion(
  pool: LedgerPool,
  schema: string,
  migrations: readonly Migration[],
): Promise<number> {
  return pool.use(async (session) => {
    const version = await currentVersion(session, schema);
    refuseNewer(schema, version, migrations);
    return version;
  });
}

/** Applies the next migration, if there still is one by the time the lock is ours. Resolves with the version reached. */
async function migrateOnce(
  pool: LedgerPool,
  schema: string,
  migrations: readonly Migration[],
  log: Log,
): Promise<number> {
  return pool.use(async (session) => {
    try {
      await session.run({ text: 'begin isolation level read committed' });
      // A lock of the transaction, not of the session: poolers that share sessions keep it where it belongs.
      await session.run({ text: 'select pg_advisory_xact_lock(hashtextextended($1::text, 0))' }, [
        `nestjs-durable-kafka/migrate/${schema}`,
      ]);
      const before = await currentVersion(session, schema);
      refuseNewer(schema, before, migrations);
      const next = migrations.find((migration) => migration.version > before);
      if (next !== undefined) await apply(session, schema, next);
      const { error, command } = await session.batch([[{ text: 'commit' }]]);
      if (error !== undefined) throw error;
      if (command !== 'COMMIT')
        throw new LedgerSchemaError(`A migration of schema "${schema}" was rolled back`);
      if (next !== undefined)
        log.log(`Ledger schema "${schema}" is at version ${next.version} (${next.name})`);
      return next?.version ?? before;
    } catch (error) {
      await session.rollback();
      throw error;
    }
  });
}

async function apply(session: Session, schema: string, migration: Migration): Promise<void> {
  const quoted = escapeIdentifier(schema);
  try {
    // Asked first: "if not exists" wants the right to create schemas even where there is nothing to create.
    const [found] = await session.run(
      { text: 'select 1 as found from pg_namespace where nspname = $1::text' },
      [schema],
    );
    if (found === undefined) await session.run({ text: `create schema ${quoted}` });
    const text = await readFile(migration.file, 'utf8');
    await session.run({ text: text.replaceAll(SCHEMA_VARIABLE, () => quoted) });
  } catch (error) {
    if ((error as { code?: unknown }).code !== '42501') throw error;
    throw new LedgerSchemaError(
      `The database user may not set up the ledger's schema "${schema}" (migration ${migration.version}). Have a user who ` +
        `may create schemas run: ${psqlCommand(schema, [migration])}`,
      { cause: error },
    );
  }
}

/** 0 if there is no schema yet. */
async function currentVersion(session: Session, schema: string): Promise<number> {
  // Read from the catalog's tables: to_regclass answers from the session's cache, which does not learn of what others
  // committed while this transaction waited for its lock.
  const [table] = await session.run(
    {
      text: `select 1 as found from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1::text and c.relname = 'schema_migration'`,
    },
    [schema],
  );
  if (table === undefined) return 0;
  const [row] = await session.run(
    { text: `select coalesce(max(version), 0) as version from ${escapeIdentifier(schema)}.schema_migration` },
    [],
  );
  return Number(row!['version']);
}

function refuseNewer(schema: string, version: number, migrations: readonly Migration[]): void {
  const latest = latestOf(migrations);
  if (version <= latest) return;
  throw new LedgerSchemaError(
    `The ledger's schema "${schema}" has version ${version}; this version of the library knows versions up to ${latest}. ` +
      'Update nestjs-durable-kafka in this process, or point the option "schema" elsewhere.',
  );
}

function latestOf(migrations: readonly Migration[]): number {
  return migrations.at(-1)?.version ?? 0;
}

function psqlCommand(schema: string, migrations: readonly Migration[]): string {
  const files = migrations.map(({ file }) => `-f '${fileURLToPath(file)}'`).join(' ');
  return (
    `psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -v schema='${schema}' --single-transaction ` +
    `-c 'create schema if not exists ${escapeIdentifier(schema)}' ${files}`
  );
}
