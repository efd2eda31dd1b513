/** What `pg` can bind here without converting anything itself. */
export type Parameter = string | number | Buffer | null;

/** A `bytea[]` in Postgres's text form. */
export function byteaArray(items: readonly Buffer[]): string {
  let text = '{';
  for (let index = 0; index < items.length; index++) {
    text += index === 0 ? '\\\\x' : ',\\\\x';
    text += items[index]!.toString('hex');
  }
  return text + '}';
}

/** An array of numbers, big or small, or of UUIDs. Missing ones are null. */
export function plainArray(items: readonly (number | bigint | string | null)[]): string {
  return `{${items.map((item) => (item === null ? 'NULL' : item)).join(',')}}`;
}

/** A `text[]`: anything may be in it but NUL, which no topic name holds. */
export function textArray(items: readonly string[]): string {
  return `{${items.map((item) => `"${item.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`;
}

/** Postgres stores no NUL in text, and what an error says must not keep its record from being written about. */
export function storableText(text: string): string {
  return text.replaceAll('\0', '\u{fffd}');
}

/** Many values as one run of bytes, with the bounds of each as `substring` counts them. */
export class PackedBytes {
  private readonly parts: Buffer[] = [];
  private size = 0;

  /** Bounds of the value: `null` for both where there is none. */
  add(value: Buffer | null): { start: number | null; length: number | null } {
    if (value === null) return { start: null, length: null };
    const start = this.size + 1;
    this.parts.push(value);
    this.size += value.length;
    return { start, length: value.length };
  }

  bytes(): Buffer {
    return this.parts.length === 1 ? this.parts[0]! : Buffer.concat(this.parts, this.size);
  }
}
