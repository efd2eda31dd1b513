import { InvalidRecordError } from '../errors/errors.js';
import type { OutgoingRecord, RecordHeader } from './record.js';

/** A record but for its topic. */
export type RecordParts = Omit<OutgoingRecord, 'topic'>;

const MESSAGE_FIELDS: ReadonlySet<string> = new Set(['key', 'value', 'headers', 'partition', 'timestamp']);

/**
 * What `emit()`, `send()` or a handler gave, as a record. A Kafka message (`isKafkaMessage`) says key, headers,
 * partition and timestamp itself; anything else is the value. The argument is never changed.
 *
 * @throws InvalidRecordError if no record can hold it.
 */
export function encodeMessage(data: unknown): RecordParts {
  return isKafkaMessage(data) ? encodeParts(data) : { key: null, value: encodeValue(data), headers: [] };
}

/**
 * An object all of whose fields are among `key`, `value`, `headers`, `partition` and `timestamp`, `value` being one
 * of them. So `{ key, value: null }` is a tombstone, and `{ key, name }` somebody's own object.
 */
export function isKafkaMessage(data: unknown): data is Record<string, unknown> {
  if (typeof data !== 'object' || data === null || !Object.hasOwn(data, 'value')) return false;
  return Object.keys(data).every((name) => MESSAGE_FIELDS.has(name));
}

/**
 * Encodes a Kafka message whose form is already known, for example what a user's serializer returned.
 * @throws InvalidRecordError if no record can hold it.
 */
export function encodeParts(message: Readonly<Record<string, unknown>>): RecordParts {
  const parts: { -readonly [Name in keyof RecordParts]: RecordParts[Name] } = {
    key: encode(message['key'], 'The key'),
    value: encodeValue(message['value']),
    headers: encodeHeaders(message['headers']),
  };
  const { partition, timestamp } = message;
  if (partition != null) parts.partition = encodePartition(partition);
  if (timestamp != null) parts.timestamp = encodeTimestamp(timestamp);
  return parts;
}

/**
 * Text and bytes as they are, plain objects and arrays as JSON, everything else by its own `toString()` or, if it has
 * none, as JSON; `undefined` and `null` are no value. As Nest does, except that any `Uint8Array` is bytes.
 */
export function encodeValue(value: unknown): Buffer | null {
  return encode(value, 'The value');
}

/** @throws InvalidRecordError naming the first header that is neither text, bytes, nor a list of them. */
export function encodeHeaders(headers: unknown): RecordHeader[] {
  if (headers === undefined || headers === null) return [];
  if (typeof headers !== 'object' || Array.isArray(headers) || headers instanceof Map) {
    throw new InvalidRecordError('The headers of a message must be an object of names and values');
  }
  const encoded: RecordHeader[] = [];
  for (const [name, value] of Object.entries(headers) as [string, unknown][]) {
    if (Array.isArray(value)) {
      for (const item of value as unknown[]) encoded.push([name, encodeHeader(name, item)]);
    } else if (value !== undefined) {
      encoded.push([name, encodeHeader(name, value)]);
    }
  }
  return encoded;
}

function encodeHeader(name: string, value: unknown): Buffer | null {
  if (value === null) return null;
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (value instanceof Uint8Array) return asBuffer(value);
  throw new InvalidRecordError(
    `The header "${name}" is of type ${typeof value}; a header must be a string, a Buffer, or an array of them`,
  );
}

function encode(value: unknown, what: string): Buffer | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (value instanceof Uint8Array) return asBuffer(value);
  return Buffer.from(stringify(value, what), 'utf8');
}

function stringify(value: NonNullable<unknown>, what: string): string {
  let text: unknown;
  try {
    text = hasOwnText(value) ? String(value) : JSON.stringify(value);
  } catch (cause) {
    throw new InvalidRecordError(`${what} of a message can't be serialized: ${describe(cause)}`, { cause });
  }
  if (typeof text !== 'string') {
    throw new InvalidRecordError(`${what} of a message can't be serialized: its JSON is undefined`);
  }
  return text;
}

/** Whether `toString()` says more than "[object Object]". */
function hasOwnText(value: NonNullable<unknown>): boolean {
  if (typeof value === 'function' || typeof value === 'symbol') {
    throw new TypeError(`a ${typeof value} is not data`);
  }
  if (typeof value !== 'object') return true;
  if (Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return false;
  return value.toString !== Object.prototype.toString && !isForeignPlainObject(prototype as object);
}

/** A plain object of another realm (a worker's, a test runner's sandbox) has another `Object.prototype`. */
function isForeignPlainObject(prototype: object): boolean {
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf');
}

function encodePartition(partition: unknown): number {
  if (typeof partition === 'number' && Number.isInteger(partition) && partition >= 0) return partition;
  throw new InvalidRecordError('The partition of a message must be a whole number from 0');
}

function encodeTimestamp(timestamp: unknown): number {
  const milliseconds = timestamp === '' ? Number.NaN : Number(timestamp);
  if (Number.isSafeInteger(milliseconds) && milliseconds >= 0) return milliseconds;
  throw new InvalidRecordError('The timestamp of a message must be milliseconds since the epoch');
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Only what the engine says about circles and bigints: a user's own `toJSON()` may put the payload into its error. */
function describe(cause: unknown): string {
  return cause instanceof TypeError ? cause.message.split('\n', 1)[0]! : 'its own code threw';
}
