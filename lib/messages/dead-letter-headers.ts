import { headerValue, type KafkaRecord } from './record.js';
import { isTopicName } from './topic-name.js';

/** What a dead letter says about itself, in headers behind those of the record. The first one of them always. */
const FIRST = 'dlt-reason';

/** A record of a dead-letter topic, taken apart. */
export interface DeadLetter {
  /** As it was consumed: its place, key, value and headers. */
  readonly record: KafkaRecord;
  readonly group: string;
  readonly handler: string;
  readonly reason: string;
  readonly errorClass: string | undefined;
  /** The idempotency key as people read it, where there was one. */
  readonly key: string | undefined;
  /** When the letter was produced, ms since the epoch. */
  readonly diedAt: number;
}

/** `undefined` for a record that is no dead letter of this library. */
export function readDeadLetter(letter: KafkaRecord): DeadLetter | undefined {
  const { headers } = letter;
  // The last one: a record that was a dead letter before brings its own.
  const start = headers.findLastIndex(([name]) => name === FIRST);
  if (start < 0) return undefined;
  const facts = headers.slice(start);
  const text = (name: string) => headerValue(facts, name)?.toString('utf8');
  const topic = text('dlt-original-topic');
  const partition = wholeNumber(text('dlt-original-partition'), 10);
  const offset = wholeNumber(text('dlt-original-offset'), 18);
  const timestamp = wholeNumber(text('dlt-original-timestamp'), 15);
  const group = text('dlt-group');
  const handler = text('dlt-handler');
  if (!isTopicName(topic ?? '') || group === undefined || handler === undefined) return undefined;
  if (partition === undefined || partition >= 2n ** 31n) return undefined;
  if (offset === undefined || offset < 0n || timestamp === undefined) return undefined;
  return {
    record: {
      topic: topic!,
      partition: Number(partition),
      offset,
      timestamp: Number(timestamp),
      key: letter.key,
      value: letter.value,
      headers: headers.slice(0, start),
    },
    group,
    handler,
    reason: text(FIRST) ?? '',
    errorClass: text('dlt-exception-class'),
    key: text('dlt-key'),
    diedAt: letter.timestamp,
  };
}

function wholeNumber(text: string | undefined, digits: number): bigint | undefined {
  if (text === undefined || text.length > digits + 1 || !/^-?\d+$/.test(text)) return undefined;
  return BigInt(text);
}
