import { ParkingFullError } from '../errors/errors.js';
import { parkedSequence } from '../messages/parked-sequence.js';
import type { KafkaRecord } from '../messages/record.js';
import type { Lane } from './ledger-terms.js';
import type { ParkedLane } from './parking-registry.js';

export interface PlaceInQueue {
  readonly sequence: Buffer;
  /** There is no room. */
  readonly isFull: boolean;
}

/** Where the records of a group queue in a lane, each behind those before it. */
export class ParkingQueue {
  private readonly added = new Map<string, number>();

  constructor(
    private readonly parked: ParkedLane,
    private readonly maxLetters: number,
  ) {}

  /** `undefined` for a record that need not queue. */
  placeOf(record: KafkaRecord): PlaceInQueue | undefined {
    const sequence = parkedSequence(record);
    const letters = this.parked.lettersOf(sequence);
    if (letters === undefined) return undefined;
    const name = sequence.toString('latin1');
    const added = (this.added.get(name) ?? 0) + 1;
    this.added.set(name, added);
    return { sequence, isFull: letters + added > this.maxLetters };
  }
}

export function fullError(
  { scope }: Lane,
  { topic, partition, offset }: KafkaRecord,
  maxLetters: number,
): ParkingFullError {
  return new ParkingFullError(
    `${topic}[${partition}] waits at offset ${offset}: ${maxLetters} records of its key are parked for ${scope.handler} ` +
      '(parking.maxLetters). Mend what the first of them fails of, or have it skipped or dropped by DurableLedger.',
  );
}
