import type { Fence, Lane } from './ledger-terms.js';

/** A partition, for all handlers of a group. */
export type LanePartition = Pick<Lane, 'topicId' | 'partition'> & { readonly group: string };

/** For a partition whose log has lost its end: what comes at the offsets behind it are other records. */
export interface LedgerTruncations {
  /** The lanes of the partition whose fence was ever taken, also of handlers that this process does not have. */
  lanesOf(partition: LanePartition): Promise<Lane[]>;
  /**
   * The lane's records from `end` on are not those that the ledger knows: lowers the fence to `end`, if it stands above, and
   * has positions from there on known no more. What is stored under them (executions, steps, claims, replies, dead letters)
   * moves to the lane of a topic of its own, with a new topic id: it happened, and letters are the only copy of their
   * record. Failures noted of them are forgotten. Other keys, and what is parked, stay as they are. A fence that was taken
   * before is to be taken anew.
   * @throws FencedError if the epoch was superseded; nothing was changed
   */
  lower(fence: Fence, end: bigint): Promise<void>;
  /**
   * The log of the leader of this epoch has all that the ledger knows of the lane: stores the epoch, unless a higher one is
   * stored. Others may be at work in the lane.
   * @throws FencedError if the fence's epoch was superseded
   */
  follow(fence: Fence, leaderEpoch: number): Promise<void>;
}
