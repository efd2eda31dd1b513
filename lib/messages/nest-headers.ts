/** Headers of Nest's request-reply contract. All but the last are understood by Nest's built-in transport too. */

/** Opaque bytes that tie a reply to its request. */
export const CORRELATION_ID_HEADER = 'kafka_correlationId';
/** The topic that the requester reads replies from. */
export const REPLY_TOPIC_HEADER = 'kafka_replyTopic';
/** The partition of the reply topic, in decimal. */
export const REPLY_PARTITION_HEADER = 'kafka_replyPartition';
/** On a reply: the error, as JSON or as text. */
export const NEST_ERROR_HEADER = 'kafka_nest-err';
/** On a reply: nothing follows it. */
export const NEST_IS_DISPOSED_HEADER = 'kafka_nest-is-disposed';
/**
 * On each reply of a stream: its place, in decimal from 0. A server that produces a stream again after a crash
 * repeats the numbers, so that the requester can drop what it has seen. Ours alone; others ignore it.
 */
export const REPLY_INDEX_HEADER = 'kafka_nest-reply-index';

/** Value of `kafka_nest-is-disposed` on the last reply, which carries a value: one zero byte, as Nest writes it. */
export const DISPOSED = Buffer.alloc(1);
/**
 * Value of `kafka_nest-is-disposed` on a record that only ends a stream. The built-in client can't tell it from a
 * last value of `null`; ours completes without a value.
 */
export const DISPOSED_WITHOUT_VALUE = Buffer.from([1]);

/** What the requester sets itself on each request, whatever the caller's message says. */
export const REQUEST_HEADERS: ReadonlySet<string> = new Set([
  CORRELATION_ID_HEADER,
  REPLY_TOPIC_HEADER,
  REPLY_PARTITION_HEADER,
]);
