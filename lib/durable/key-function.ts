import { IdempotencyKeyError } from '../errors/errors.js';
import { givenKey, type IdempotencyKey } from '../messages/idempotency-key.js';
import { parseRecord, type ParserOptions } from '../messages/parser.js';
import type { KafkaRecord } from '../messages/record.js';
import type { DurableHandler } from './durable-metadata.accessor.js';

/**
 * What the key function of a handler says about a record.
 * @throws IdempotencyKeyError if it throws, or returns what is no key.
 */
export function keyByFunction(
  record: KafkaRecord,
  handler: DurableHandler,
  parser: ParserOptions,
): IdempotencyKey {
  const origin = `the key function of ${handler.id}`;
  let key: unknown;
  try {
    key = handler.key!(parseRecord(record, parser) as never);
  } catch (cause) {
    throw new IdempotencyKeyError(
      'no-key',
      `${origin} threw ${cause instanceof Error ? cause.name : typeof cause}`,
    );
  }
  if (typeof key === 'string' || Buffer.isBuffer(key)) return givenKey('given', key, origin);
  if (typeof key === 'number' || typeof key === 'bigint') return givenKey('given', String(key), origin);
  const what = key === undefined || key === null ? String(key) : `a value of type ${typeof key}`;
  throw new IdempotencyKeyError(
    'no-key',
    `${origin} returned ${what}; it must return text, a number or a Buffer`,
  );
}
