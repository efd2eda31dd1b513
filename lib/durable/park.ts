import type { Delivery } from '../consumption/attempt.js';
import { errorFacts } from '../consumption/dead-letter.js';
import { parkingDelay, type ParkingPolicy } from '../consumption/parking-policy.js';
import { FencedError } from '../errors/errors.js';
import type { LaneWork } from '../execution/prepared-lane.js';
import type { FenceRegistry } from '../execution/fence-registry.js';
import type { Ledger } from '../execution/ledger.js';
import type { ParkingError } from '../execution/ledger-parking.js';
import { letterOf } from '../execution/parked-letters.js';
import { parkedSequence } from '../messages/parked-sequence.js';
import type { Clock } from '../runtime/clock.js';

const MAX_ERROR_BYTES = 2_000;

/** Class and message of what was thrown, short enough to be stored. */
export function boundedFacts(error: unknown): ParkingError {
  const { name, message } = errorFacts(error);
  return { name, message: message.slice(0, MAX_ERROR_BYTES) };
}

interface ParkingCore {
  readonly ledger: Ledger;
  readonly fences: FenceRegistry;
  readonly clock: Clock;
}

/**
 * Parks a record that failed for good; from now on the records of its key queue behind it.
 * @throws FencedError, LedgerUnreachableError, ParkingFullError
 */
export async function park(
  { ledger, fences, clock }: ParkingCore,
  policy: ParkingPolicy,
  work: LaneWork,
  { record, failures, firstFailure }: Delivery,
  error: ParkingError,
): Promise<void> {
  const fence = await fences.take(work.lane, work.holder);
  const sequence = parkedSequence(record);
  const now = clock.now();
  try {
    await ledger.parking.park({
      fence,
      isShared: work.isShared,
      letter: letterOf(record, sequence),
      failures,
      age: Math.max(0, now - (firstFailure ?? now)),
      error,
      retryAfter: parkingDelay(policy, 0) ?? policy.max,
      maxSequences: policy.maxSequences,
    });
  } catch (refused) {
    if (refused instanceof FencedError) fences.forget(fence, refused);
    throw refused;
  }
  fences.parking.parked(fence, sequence);
  if (!work.isShared) fences.advance(fence, record.offset + 1n);
}
