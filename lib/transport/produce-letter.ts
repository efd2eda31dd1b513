import { withoutStack } from '../consumption/dead-letter.js';
import type { DriverProducer } from '../driver/driver.js';
import { ProduceError } from '../errors/errors.js';
import type { OutgoingRecord, RecordMetadata } from '../messages/record.js';

/**
 * Produces a record. A dead letter is larger than the record that it is about, by its headers: one that the broker never
 * takes is tried again without the stack.
 * @throws ProduceError
 */
export async function produceLetter(
  producer: DriverProducer,
  record: OutgoingRecord,
): Promise<RecordMetadata> {
  try {
    return await producer.send(record);
  } catch (error) {
    const smaller = error instanceof ProduceError && !error.retryable ? withoutStack(record) : undefined;
    if (!smaller) throw error;
    return producer.send(smaller);
  }
}
