import type { Fence } from './ledger-terms.js';
import { reaches } from './lower-fence.js';

/** Where nothing is known of the epochs of leaders. */
export const UNKNOWN_EPOCH = -1;

/** The log that a lane's records are read from, for as long as its partition is held. */
export interface LaneLog {
  /**
   * Of the leader whose log has all that was read: not lower than the epoch of any record that was handed over.
   * `UNKNOWN_EPOCH` if it can't be told, or must not be used now.
   */
  readonly leaderEpoch: number;
  /** Everything below was read and done, or is what the reader was told to leave out. */
  readonly position: bigint;
  /**
   * Where the records of this epoch, and of those before, end in the log of the present leader; `undefined` if it can't
   * tell. Rejects with a retryable error if it can't be asked.
   */
  endOf(leaderEpoch: number): Promise<bigint | undefined>;
}

/** Records of a later leader were read than those that the fence knows of. */
export function isBehind({ leaderEpoch = UNKNOWN_EPOCH }: Fence, current: number): boolean {
  return leaderEpoch < current;
}

/**
 * Where the log lost records that the fence has passed, if it did. Asks for nothing where the fence stands no higher than
 * what the reader knows by itself to be in the log.
 */
export async function lostFrom(fence: Fence, log: LaneLog): Promise<bigint | undefined> {
  const { leaderEpoch = UNKNOWN_EPOCH } = fence;
  if (leaderEpoch === UNKNOWN_EPOCH || !reaches(fence, log.position)) return undefined;
  const end = await log.endOf(leaderEpoch);
  return end !== undefined && reaches(fence, end) ? end : undefined;
}
