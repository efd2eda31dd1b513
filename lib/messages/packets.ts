import { InvalidRecordError } from '../errors/errors.js';
import { isPromise } from '../runtime/is-promise.js';
import { encodeMessage, encodeParts, type RecordParts } from './encoder.js';
import {
  CORRELATION_ID_HEADER,
  DISPOSED,
  DISPOSED_WITHOUT_VALUE,
  NEST_ERROR_HEADER,
  NEST_IS_DISPOSED_HEADER,
  REPLY_INDEX_HEADER,
} from './nest-headers.js';
import type { ParsedMessage } from './parser.js';
import { headerValue, type KafkaRecord, type RecordHeader } from './record.js';
import type { EncodedReply } from './reply.js';

/** The shape of Nest's `Serializer`, as a user may pass it in the options. */
export interface MessageSerializer {
  serialize(value: unknown, options?: Record<string, unknown>): unknown;
}

/** The shape of Nest's `Deserializer`, as a user may pass it in the options. */
export interface MessageDeserializer {
  deserialize(value: unknown, options?: Record<string, unknown>): unknown;
}

/** What a handler is called for. */
export interface RequestPacket {
  pattern: unknown;
  data: unknown;
}

/** What a subscriber of `send()` is told. `err` ends it; so does `isDisposed`, after `response` unless undefined. */
export interface ReplyPacket {
  err?: unknown;
  response?: unknown;
  isDisposed?: boolean;
}

/** What goes into errors that nobody can serialize: Nest's own words for an unknown exception. */
const UNKNOWN_ERROR = JSON.stringify({ status: 'error', message: 'Internal server error' });

/**
 * `data` as a record, by the user's serializer if there is one. A serializer returns a Kafka message
 * (`{ key?, value, headers? }`), or text or bytes for the value alone.
 *
 * Stays synchronous as long as the serializer does, so that the sends of one turn share a produce request.
 * @throws InvalidRecordError
 */
export function serializeMessage(
  data: unknown,
  serializer?: MessageSerializer,
  options?: Record<string, unknown>,
): RecordParts | Promise<RecordParts> {
  if (serializer === undefined) return encodeMessage(data);
  const serialized = serializer.serialize(data, options);
  return isPromise(serialized) ? serialized.then(partsOf) : partsOf(serialized);
}

/** The packet of an incoming message. Without a deserializer the data is the value, `null` for a tombstone. */
export function deserializeRequest(
  message: ParsedMessage,
  deserializer?: MessageDeserializer,
): RequestPacket | Promise<RequestPacket> {
  if (deserializer === undefined) return { pattern: message.topic, data: message.value };
  return deserializer.deserialize(message, { channel: message.topic }) as
    RequestPacket | Promise<RequestPacket>;
}

/** What a reply says, by the user's deserializer if there is one. */
export function deserializeReply(
  record: KafkaRecord,
  message: ParsedMessage,
  deserializer?: MessageDeserializer,
): ReplyPacket | Promise<ReplyPacket> {
  if (endsWithoutValue(record)) return { isDisposed: true };
  if (deserializer !== undefined) {
    return deserializer.deserialize(message) as ReplyPacket | Promise<ReplyPacket>;
  }
  const { headers, value } = message;
  if (NEST_ERROR_HEADER in headers) return { err: headers[NEST_ERROR_HEADER], isDisposed: true };
  return { response: value, isDisposed: NEST_IS_DISPOSED_HEADER in headers };
}

/**
 * One reply of a handler as a record. `index` counts the replies of a stream; leave it out where the first reply is
 * the only one.
 * @throws InvalidRecordError if the response can't be serialized; an error always can.
 */
export function encodeReply(
  reply: ReplyPacket,
  serializer?: MessageSerializer,
  index?: number,
): EncodedReply | Promise<EncodedReply> {
  const failed = 'err' in reply && reply.err !== undefined;
  const parts = serializeMessage(failed ? undefined : reply.response, serializer);
  const finish = ({ key, value, headers }: RecordParts): EncodedReply => {
    const all: RecordHeader[] = [...headers];
    if (failed) all.push([NEST_ERROR_HEADER, Buffer.from(encodeError(reply.err), 'utf8')]);
    if (reply.isDisposed) {
      // A handler that answers nothing at all still answers `null`, as in Nest: `lastValueFrom` would reject otherwise.
      const endsStream = !failed && !('response' in reply) && (index ?? 0) > 0;
      all.push([NEST_IS_DISPOSED_HEADER, endsStream ? DISPOSED_WITHOUT_VALUE : DISPOSED]);
    }
    if (index !== undefined) all.push([REPLY_INDEX_HEADER, Buffer.from(String(index))]);
    return { key, value, headers: all };
  };
  return isPromise(parts) ? parts.then(finish) : finish(parts);
}

/** A reply's headers as they are produced: with the correlation id of the request that it answers. */
export function replyHeaders(reply: EncodedReply, correlationId: Buffer): RecordHeader[] {
  const own = reply.headers.filter(([name]) => name !== CORRELATION_ID_HEADER);
  return [...own, [CORRELATION_ID_HEADER, correlationId]];
}

/** The place of a reply in its stream; `undefined` if it does not say one. */
export function replyIndex(record: KafkaRecord): number | undefined {
  const text = headerValue(record.headers, REPLY_INDEX_HEADER)?.toString('latin1');
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Text as it is, objects as JSON, an `Error` with its name and message, what is empty or has no JSON as unknown. */
function encodeError(error: unknown): string {
  if (!error) return UNKNOWN_ERROR;
  if (typeof error === 'string') return error;
  if (typeof error !== 'object') return String(error);
  try {
    const plain = error instanceof Error ? { ...error, name: error.name, message: error.message } : error;
    return JSON.stringify(plain) ?? UNKNOWN_ERROR;
  } catch {
    return error instanceof Error
      ? JSON.stringify({ name: error.name, message: error.message })
      : UNKNOWN_ERROR;
  }
}

function endsWithoutValue({ headers }: KafkaRecord): boolean {
  return headerValue(headers, NEST_IS_DISPOSED_HEADER)?.equals(DISPOSED_WITHOUT_VALUE) ?? false;
}

function partsOf(serialized: unknown): RecordParts {
  if (typeof serialized !== 'object' || serialized === null || serialized instanceof Uint8Array) {
    return encodeParts({ value: serialized });
  }
  if (!('value' in serialized)) {
    throw new InvalidRecordError(
      'The serializer returned an object without "value". It must return { key?, value, headers? }, text or bytes.',
    );
  }
  return encodeParts(serialized as Record<string, unknown>);
}
