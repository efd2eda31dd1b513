import { ParkingFullError } from '../errors/errors.js';
import { parkedSequence } from '../messages/parked-sequence.js';
import type { KafkaRecord } from '../messages/record.js';
import type { Ledger, Lane } from './ledger.js';
import type { ParkedLane } from './parking-registry.js';

export interface PlaceInQueue {
  readonly sequence: Buffer;
  /** There is no room. */
  readonly isFull: boolean;
}

/** What becomes of a record that queues. */
export interface Parked {
  readonly kind: 'parked';
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

/** @throws ParkingFullError */
export function queued(place: PlaceInQueue, { scope, topic, partition }: Lane, maxLetters: number): Parked {
  if (!place.isFull) return { kind: 'parked' };
  throw new ParkingFullError(
    `${topic}[${partition}] waits: ${maxLetters} records of a key are parked for ${scope.handler} (parking.maxLetters). ` +
      'Mend what the first of them fails of, or have it skipped or dropped by DurableLedger.',
  );
}

/**
 * Whether a letter is no more: it has ended in a commit whose answer was lost, and the row of its execution may be gone by
 * now too. To be asked under the lane's fence: from then on nobody else removes it.
 */
export async function isGone(
  { parking }: Pick<Ledger, 'parking'>,
  lane: Lane,
  sequence: Buffer,
  [letter]: readonly KafkaRecord[],
): Promise<boolean> {
  return !(await parking.holds(lane, { sequence, offset: letter!.offset }));
}
