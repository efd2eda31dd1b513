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
 * Smaller forms of a letter that is larger than the broker takes, best first: without the stack; without the value,
 * which its header `dlt-omitted` says and which is still to be found at the original position. None for a record that
 * is no dead letter.
 */
export function smallerLetters(letter: OutgoingRecord): OutgoingRecord[] {
  if (!letter.headers.some(([name]) => name === 'dlt-reason')) return [];
  const headers = letter.headers.filter(([name]) => name !== 'dlt-exception-stack');
  const omitted: RecordHeader = ['dlt-omitted', Buffer.from('value')];
  return [
    { ...letter, headers },
    { ...letter, value: null, headers: [...headers, omitted] },
  ];
}

/** Class, message and stack of anything that was thrown. */
export function errorFacts(error: unknown): { name: string; message: string; stack: string | undefined } {
  if (error instanceof Error) return { name: error.name, message: error.message, stack: error.stack };
  if (typeof error === 'object' && error !== null) {
    const { message } = error as { message?: unknown };
    const name = (error as object).constructor?.name ?? 'Object';
    return { name, message: typeof message === 'string' ? message : '', stack: undefined };
  }
  return { name: typeof error, message: typeof error === 'string' ? error : '', stack: undefined };
}

/** Cuts at a byte count without splitting a character. */
function bounded(text: string | undefined, bytes: number): string | undefined {
  if (text === undefined || Buffer.byteLength(text) <= bytes) return text;
  return new TextDecoder().decode(Buffer.from(text).subarray(0, bytes)).replace(/\uFFFD+$/, '');
}
