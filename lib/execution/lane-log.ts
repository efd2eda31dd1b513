import type { Fence } from './ledger-terms.js';
import { reaches } from './lower-fence.js';

/** The log that records of a lane were read from, as who reads it knows it. */
export interface LaneLog {
  /** Of the partition leader that appended the last of these records; `undefined` of none, and where nobody knows. */
  readonly leaderEpoch: number | undefined;
  /** Everything below was read and is done, or is not to be read. The reader sees to it that the log still has it. */
  readonly position: bigint;
  /**
   * Where the records of this leader epoch, and of those before, end in the log of the present leader; `undefined` if it
   * can't tell. Rejects with a retryable error if it can't be asked.
   */
  endOf(leaderEpoch: number): Promise<bigint | undefined>;
}

/** Records of a later leader were read than those that the fence knows of. */
export function isBehind({ leaderEpoch }: Fence, current: number | undefined): boolean {
  return leaderEpoch !== undefined && current !== undefined && leaderEpoch < current;
}

/**
 * What a fence may be given that has no leader epoch: nothing that it knows of was read behind the reader's position, and
 * epochs never fall from one record to the next.
 */
export function firstEpoch(fence: Fence, { leaderEpoch, position }: LaneLog): number | undefined {
  return fence.leaderEpoch !== undefined || reaches(fence, position) ? undefined : leaderEpoch;
}

/**
 * Where the log lost records that the fence has passed, if it did. Asks for nothing where the fence stands no higher than
 * what the reader sees to.
 */
export async function lostFrom(fence: Fence, log: LaneLog): Promise<bigint | undefined> {
  const { leaderEpoch } = fence;
  if (leaderEpoch === undefined || !reaches(fence, log.position)) return undefined;
  const end = await log.endOf(leaderEpoch);
  return end !== undefined && reaches(fence, end) ? end : undefined;
}
