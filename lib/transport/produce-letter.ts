import { smallerLetters } from '../consumption/dead-letter.js';
import type { DriverProducer } from '../driver/driver.js';
import { ProduceError } from '../errors/errors.js';
import type { OutgoingRecord, RecordMetadata } from '../messages/record.js';

/**
 * Produces a record. A dead letter is larger than the record that it is about, by its headers: if the broker never
 * takes it, a smaller form goes out rather than holding its partition for ever.
 * @throws ProduceError
 */
export async function produceLetter(
  producer: DriverProducer,
  record: OutgoingRecord,
): Promise<RecordMetadata> {
  let refusal: unknown;
  for (const form of [record, ...smallerLetters(record)]) {
    try {
      return await producer.send(form);
    } catch (error) {
      if (!(error instanceof ProduceError) || error.retryable) throw error;
      refusal ??= error;
    }
  }
  throw refusal;
}
