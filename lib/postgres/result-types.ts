import type { CustomTypesConfig } from 'pg';

/** A row as the ledger reads it: numbers, UUIDs and times stay text, `bytea` is bytes. */
export type Row = Readonly<Record<string, string | Buffer | null>>;

const BYTEA = 17;

/**
 * The ledger's own reading of results. Applications change `pg`'s parsers for the whole process (`int8` to number is a
 * common one), which would round 64-bit fingerprints and offsets here.
 */
export const ledgerTypes = {
  getTypeParser: (oid: number) => (oid === BYTEA ? parseBytea : keepText),
} as unknown as CustomTypesConfig;

function keepText(text: string): string {
  return text;
}

/** Either of Postgres's two forms: which one comes is a setting of the database. */
function parseBytea(text: string): Buffer {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex');
  const unescaped = text.replaceAll(/\\(\\|[0-7]{3})/g, (_, code: string) =>
    code === '\\' ? '\\' : String.fromCharCode(parseInt(code, 8)),
  );
  return Buffer.from(unescaped, 'latin1');
}
