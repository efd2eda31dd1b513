import { isNativeError } from 'node:util/types';
import { className, textOf } from '../errors/foreign-error.js';
import type { OutgoingRecord, RecordHeader } from '../messages/record.js';
import { isoTime } from '../runtime/clock.js';
import type { Delivery } from './attempt.js';
import type { Ending } from './group.js';

const MAX_STACK_BYTES = 8 * 1024;
const MAX_MESSAGE_BYTES = 1024;

export interface DeadLetterOrigin {
  readonly group: string;
  /** For people: the idempotency key, where there is one. */
  readonly key: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The record that goes to the dead-letter topic: the original's bytes untouched, and why as readable headers. */
export function deadLetterRecord(
  topic: string,
  delivery: Delivery,
  ending: Ending,
  origin: DeadLetterOrigin,
): OutgoingRecord {
  const { record, handler } = delivery;
  const { name, message, stack } = errorFacts(ending.error);
  const facts: [string, string | undefined][] = [
    ['dlt-reason', ending.reason],
    ['dlt-original-topic', record.topic],
    ['dlt-original-partition', String(record.partition)],
    ['dlt-original-offset', String(record.offset)],
    ['dlt-original-timestamp', String(record.timestamp)],
    ['dlt-group', origin.group],
    ['dlt-handler', handler.name],
    ['dlt-key', origin.key],
    ['dlt-exception-class', name],
    ['dlt-exception-message', bounded(message, MAX_MESSAGE_BYTES)],
    ['dlt-exception-stack', bounded(stack, MAX_STACK_BYTES)],
    ['dlt-attempts', String(delivery.failures)],
    ['dlt-first-failure', isoTime(delivery.firstFailure ?? origin.now)],
  ];
  const headers: RecordHeader[] = [...record.headers];
  for (const [header, value] of facts) {
    if (value !== undefined) headers.push([header, Buffer.from(value, 'utf8')]);
  }
  return { topic, key: record.key, value: record.value, headers };
}

/**
 * A letter that is larger than the broker takes, without its longest header of ours: a dead letter is larger than its
 * record. Key, value and headers of the record stay untouched. `undefined` for a record that is no dead letter.
 */
export function withoutStack(letter: OutgoingRecord): OutgoingRecord | undefined {
  const headers = letter.headers.filter(([name]) => name !== 'dlt-exception-stack');
  return headers.length < letter.headers.length ? { ...letter, headers } : undefined;
}

/** Class, message and stack of anything that was thrown; properties that throw, or are no text, say nothing. */
export function errorFacts(error: unknown): { name: string; message: string; stack: string | undefined } {
  if (typeof error !== 'object' || error === null) {
    return { name: typeof error, message: typeof error === 'string' ? error : '', stack: undefined };
  }
  const isError = isNativeError(error) || textOf(error, 'stack') !== undefined;
  const name = isError ? textOf(error, 'name') : undefined;
  return {
    name: name ?? className(error),
    message: textOf(error, 'message') ?? '',
    stack: isError ? textOf(error, 'stack') : undefined,
  };
}

/** Cuts at a byte count without splitting a character. */
function bounded(text: string | undefined, bytes: number): string | undefined {
  if (text === undefined || Buffer.byteLength(text) <= bytes) return text;
  return new TextDecoder().decode(Buffer.from(text).subarray(0, bytes)).replace(/\uFFFD+$/, '');
}
