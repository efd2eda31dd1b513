import type { KafkaRecord } from '../messages/record.js';
import type { PreparedLane } from './prepared-lane.js';
import type { FenceRegistry } from './fence-registry.js';
import type { LetterToStore, ParkingWork } from './ledger-parking.js';

/** What becomes of a lane's letters with the records that are done; `undefined` for nothing, as almost always. */
export function parkingOf(lane: PreparedLane, done: ReadonlySet<KafkaRecord>): ParkingWork | undefined {
  const { work, entries, fence } = lane;
  if (work.letter) {
    const removed = work.records.filter((record) => done.has(record));
    const sequence = work.letter;
    return { fence, appended: [], removed: removed.map(({ offset }) => ({ sequence, offset })) };
  }
  if (!lane.hasParked) return undefined;
  const appended: LetterToStore[] = [];
  for (const record of work.records) {
    const sequence = done.has(record) && entries.get(record)!.parked?.sequence;
    if (sequence) appended.push(letterOf(record, sequence));
  }
  return appended.length > 0 ? { fence, appended, removed: [] } : undefined;
}

export function letterOf(
  { offset, timestamp, key, value, headers }: KafkaRecord,
  sequence: Buffer,
): LetterToStore {
  return { sequence, offset, timestamp, key, value, headers };
}

/**
 * A lane's work is committed. That a letter is gone that the commit need not have removed itself is for the ledger to
 * say: if its key was known, its end may have been stored before.
 */
export function noteParking(fences: FenceRegistry, { entries }: PreparedLane, parking: ParkingWork): void {
  const ran = [...entries.values()].every(({ running }) => running);
  if (parking.removed.length === 0 || ran) fences.parkingCommitted(parking);
  else fences.forget(parking.fence, undefined);
}
