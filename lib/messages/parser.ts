import { CORRELATION_ID_HEADER } from './nest-headers.js';
import type { KafkaRecord, RecordHeader } from './record.js';

/** A record as handlers, deserializers and `KafkaContext.getMessage()` see it: Nest's `IncomingMessage`. */
export interface ParsedMessage {
  topic: string;
  partition: number;
  /** Milliseconds since the epoch, in decimal. */
  timestamp: string;
  /** Bytes of key, value and headers together. */
  size: number;
  /** Always 0: Kafka defines no attribute of a single record. */
  attributes: number;
  offset: string;
  /** Decoded like `value`, also under `keepBinary`. */
  key: unknown;
  /** Decoded by `decode`; the bytes themselves under `keepBinary`; `null` for a tombstone. */
  value: unknown;
  /** Without a prototype. A name that occurs more than once holds an array, in the record's order. */
  headers: Record<string, unknown>;
}

export interface ParserOptions {
  /** Leaves values as bytes. Keys and headers are decoded all the same, as in Nest. */
  readonly keepBinary?: boolean | undefined;
}

/** Never throws, whatever the bytes are. */
export function parseRecord(record: KafkaRecord, options: ParserOptions = {}): ParsedMessage {
  return {
    topic: record.topic,
    partition: record.partition,
    timestamp: String(record.timestamp),
    size: recordSize(record),
    attributes: 0,
    offset: String(record.offset),
    key: decode(record.key),
    value: options.keepBinary ? record.value : decode(record.value),
    headers: parseHeaders(record.headers),
  };
}

/**
 * What Nest makes of bytes: a leading zero byte marks a schema payload, which stays a `Buffer`; text that starts with
 * `{` or `[` and is JSON is parsed; everything else, numbers and broken JSON included, is text.
 */
export function decode(bytes: Buffer | null): unknown {
  if (bytes === null) return null;
  const first = bytes[0];
  if (first === 0x00) return bytes;
  const text = bytes.toString('utf8');
  if (first !== 0x7b && first !== 0x5b) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function parseHeaders(headers: readonly RecordHeader[]): Record<string, unknown> {
  // A header named "constructor" or "__proto__" must be an ordinary name.
  const parsed = Object.create(null) as Record<string, unknown>;
  // An array in `parsed` may also be one header's JSON: only this set tells that a name was repeated.
  let repeated: Set<string> | undefined;
  for (const [name, bytes] of headers) {
    const value = decodeHeader(name, bytes);
    if (!(name in parsed)) {
      parsed[name] = value;
    } else if (repeated?.has(name)) {
      (parsed[name] as unknown[]).push(value);
    } else {
      parsed[name] = [parsed[name], value];
      (repeated ??= new Set()).add(name);
    }
  }
  return parsed;
}

function decodeHeader(name: string, bytes: Buffer | null): unknown {
  // An id that happens to look like JSON would come back as another id.
  if (name === CORRELATION_ID_HEADER && bytes !== null && bytes[0] !== 0x00) return bytes.toString('utf8');
  return decode(bytes);
}

function recordSize(record: KafkaRecord): number {
  let size = (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const [name, value] of record.headers) size += Buffer.byteLength(name) + (value?.length ?? 0);
  return size;
}
