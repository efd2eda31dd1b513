import { isUtf8 } from 'node:buffer';
import { IdempotencyKeyError } from '../errors/errors.js';
import { digest64 } from './digest.js';
import { redriveOf } from './redrive-headers.js';
import { headerValue, type KafkaRecord } from './record.js';

/** Header that the library's own producers put on each record: one produce, one id, however often it is retried. */
export const MESSAGE_ID_HEADER = 'message-id';

/** Longest key in bytes. Longer ones would not fit Postgres's index pages together with their scope. */
export const MAX_KEY_BYTES = 512;

/** Of a record in its partition. */
export const MAX_OFFSET = 2n ** 63n - 1n;

/** Where a key came from. Keys of different kinds never collide, whatever their bytes. */
export type KeyKind = 'given' | 'message-id' | 'position';

export interface IdempotencyKey {
  readonly kind: KeyKind;
  /** What the ledger stores: a tag byte for the kind, then the key. */
  readonly encoded: Buffer;
}

const TAGS: Record<KeyKind, number> = { given: 0x67, 'message-id': 0x6d, position: 0x70 };
const UUID_TAG: Record<'given' | 'message-id', number> = { given: 0x47, 'message-id': 0x4d };

const DASH = 0x2d;
/** What a byte stands for; what is no lower-case digit stands for more than a byte. */
const HEX_DIGITS = new Uint16Array(256).fill(0x100);
for (let digit = 0; digit < 16; digit++) HEX_DIGITS[digit.toString(16).charCodeAt(0)] = digit;

const POSITION = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/(\d{1,10})\/(\d{1,19})$/;

/** A key that a person or a producer chose. Canonical UUIDs are kept in 16 bytes. */
export function givenKey(kind: 'given' | 'message-id', key: string | Buffer, origin: string): IdempotencyKey {
  const bytes = typeof key === 'string' ? Buffer.from(key, 'utf8') : key;
  if (bytes.length === 0)
    throw new IdempotencyKeyError('no-key', `The idempotency key from ${origin} is empty`);
  if (bytes.length > MAX_KEY_BYTES) {
    throw new IdempotencyKeyError(
      'key-too-long',
      `The idempotency key from ${origin} has ${bytes.length} bytes; at most ${MAX_KEY_BYTES} are allowed. ` +
        'Hash it before handing it over.',
    );
  }
  return { kind, encoded: taggedUuid(UUID_TAG[kind], bytes) ?? tagged(TAGS[kind], bytes) };
}

/** The key of a record that carries none: its place. The topic's id outlives deletion and re-creation of its name. */
export function positionKey(topicId: string, partition: number, offset: bigint): IdempotencyKey {
  const encoded = Buffer.allocUnsafe(1 + 16 + 4 + 8);
  encoded[0] = TAGS.position;
  encoded.write(topicId.replaceAll('-', ''), 1, 16, 'hex');
  encoded.writeUInt32BE(partition, 17);
  encoded.writeBigUInt64BE(offset, 21);
  return { kind: 'position', encoded };
}

/**
 * The key of a record by its headers: `keyHeader` (unless `false`), then `message-id`, then its position.
 * @throws IdempotencyKeyError for an empty or oversized header.
 */
export function recordKey(record: KafkaRecord, topicId: string, keyHeader: string | false): IdempotencyKey {
  if (keyHeader !== false) {
    const given = headerValue(record.headers, keyHeader);
    if (given !== undefined) return givenKey('given', given ?? Buffer.alloc(0), `the header "${keyHeader}"`);
  }
  const messageId = headerValue(record.headers, MESSAGE_ID_HEADER);
  if (messageId != null && messageId.length > 0) {
    return givenKey('message-id', messageId, `the header "${MESSAGE_ID_HEADER}"`);
  }
  return positionKey(topicId, record.partition, record.offset);
}

/**
 * The key of a record that was put back into its partition and that nothing but its first position identifies. That has to
 * be below `over`, where all has ended: the header may be forged, and must not name a record that is still to run.
 */
export function redrivenKey(record: KafkaRecord, topicId: string, over: bigint): IdempotencyKey | undefined {
  const offset = redriveOf(record)?.offset;
  if (offset === undefined || offset >= over) return undefined;
  // It has a row like a key that was given: no fence tells whether it ran since it was put back.
  return { kind: 'given', encoded: positionKey(topicId, record.partition, offset).encoded };
}

/** 64 bits of a digest over the record's key and value: a repetition has the same, a reused key has another. */
export function fingerprint(record: KafkaRecord): bigint {
  const { key, value } = record;
  const keyBytes = key?.length ?? 0;
  const bytes = Buffer.allocUnsafe(5 + keyBytes + (value?.length ?? 0));
  // The key's length keeps (ab, c) and (a, bc) apart; a null key or a tombstone differs from an empty one.
  bytes.writeUInt32BE(keyBytes);
  bytes[4] = (key === null ? 1 : 0) | (value === null ? 2 : 0);
  if (key) bytes.set(key, 5);
  if (value) bytes.set(value, 5 + keyBytes);
  return digest64(bytes);
}

/** The position that a key says, if it is one. */
export function positionOf(
  encoded: Buffer,
): { topicId: string; partition: number; offset: bigint } | undefined {
  if (encoded[0] !== TAGS.position || encoded.length !== 29) return undefined;
  const topicId = dashed(encoded.toString('hex', 1, 17));
  return { topicId, partition: encoded.readUInt32BE(17), offset: encoded.readBigUInt64BE(21) };
}

/**
 * What a key says, in a form that can be read and searched. Positions read `topicId/partition/offset`; bytes that are no
 * text are escaped, kind and all, as in the ledger's views: replaced by one and the same character, they would make two
 * keys one for whom handlers pass them on to.
 */
export function describeKey(encoded: Buffer): string {
  const tag = encoded[0];
  const bytes = encoded.subarray(1);
  if (tag === UUID_TAG.given || tag === UUID_TAG['message-id']) return dashed(bytes.toString('hex'));
  if (tag === TAGS.position) {
    return `${dashed(bytes.toString('hex', 0, 16))}/${bytes.readUInt32BE(16)}/${bytes.readBigUInt64BE(20)}`;
  }
  return isText(bytes) ? bytes.toString('utf8') : escaped(encoded);
}

/** The reverse: every form in which the ledger may hold what people read as `key`. */
export function encodedForms(key: string): Buffer[] {
  const forms = (['given', 'message-id'] as const).map((kind) => givenKey(kind, key, 'the search').encoded);
  const [, topicId, partition, offset] = POSITION.exec(key) ?? [];
  if (topicId !== undefined && Number(partition) < 2 ** 31 && BigInt(offset!) < 2n ** 63n) {
    forms.push(positionKey(topicId, Number(partition), BigInt(offset!)).encoded);
  }
  const binary = unescaped(key);
  if (binary && describeKey(binary) === key) forms.push(binary);
  return forms;
}

/**
 * The key that a description is of, as far as its record tells.
 * @param text as `describeKey` says it.
 */
export function keyOfDescription(
  text: string,
  record: KafkaRecord,
  keyHeader: string | false,
): Buffer | undefined {
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > MAX_KEY_BYTES) return undefined;
  const [, topicId, partition, offset] = POSITION.exec(text) ?? [];
  if (topicId !== undefined && `${record.partition}/${record.offset}` === `${partition}/${offset}`) {
    return positionKey(topicId, record.partition, record.offset).encoded;
  }
  for (const [kind, name] of [
    ['given', keyHeader],
    ['message-id', MESSAGE_ID_HEADER],
  ] as const) {
    const value = name === false ? undefined : headerValue(record.headers, name);
    if (!value?.length || value.length > MAX_KEY_BYTES) continue;
    const { encoded } = givenKey(kind, value, `the header "${String(name)}"`);
    if (describeKey(encoded) === text) return encoded;
  }
  // A function of the message gave it.
  return givenKey('given', text, 'a dead letter').encoded;
}

/** For Postgres too, whose texts have no NUL. */
function isText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !bytes.includes(0);
}

/** Postgres's `encode(bytes, 'escape')`. */
function escaped(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replace(/[\0\\\x80-\xff]/g, (byte) =>
      byte === '\\' ? '\\\\' : `\\${byte.charCodeAt(0).toString(8).padStart(3, '0')}`,
    );
}

/** The reverse; `undefined` for what nothing is escaped to. */
function unescaped(text: string): Buffer | undefined {
  if (!/^[gm](?:[^\\]|\\\\|\\[0-3][0-7]{2})*$/s.test(text)) return undefined;
  const bytes = text.replace(/\\(\\|[0-7]{3})/g, (_, code: string) =>
    code === '\\' ? code : String.fromCharCode(parseInt(code, 8)),
  );
  return Buffer.from(bytes, 'latin1');
}

function tagged(tag: number, bytes: Buffer): Buffer {
  const encoded = Buffer.allocUnsafe(1 + bytes.length);
  encoded[0] = tag;
  bytes.copy(encoded, 1);
  return encoded;
}

/** `undefined` for what is no canonical UUID: it would come back as another key. */
function taggedUuid(tag: number, text: Buffer): Buffer | undefined {
  if (text.length !== 36) return undefined;
  const encoded = Buffer.allocUnsafe(17);
  encoded[0] = tag;
  let end = 1;
  for (let at = 0; at < 36; at += 2) {
    if (at === 8 || at === 13 || at === 18 || at === 23) {
      if (text[at++] !== DASH) return undefined;
    }
    const byte = (HEX_DIGITS[text[at]!]! << 4) | HEX_DIGITS[text[at + 1]!]!;
    if (byte > 0xff) return undefined;
    encoded[end++] = byte;
  }
  return encoded;
}

function dashed(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
