import type { RecordMetadata } from '../messages/record.js';

/** What `emit()` and `emitBatch()` yield: one entry per partition written to, as Nest's built-in client does. */
export interface EmittedRecords {
  topicName: string;
  partition: number;
  errorCode: number;
  /** Offset of the first of the records, in decimal. */
  baseOffset: string;
}

/** @param places of records of one topic */
export function emittedRecords(places: readonly RecordMetadata[]): EmittedRecords[] {
  const firsts = new Map<number, RecordMetadata>();
  for (const place of places) {
    const first = firsts.get(place.partition);
    if (!first || place.offset < first.offset) firsts.set(place.partition, place);
  }
  return [...firsts.values()].map(({ topic, partition, offset }) => ({
    topicName: topic,
    partition,
    errorCode: 0,
    baseOffset: String(offset),
  }));
}
