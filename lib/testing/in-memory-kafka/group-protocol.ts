import type { AssignerMember } from '../../driver/driver.js';

/** An assigner that a member offers, and what it says about itself under it. */
export interface Protocol {
  readonly name: string;
  readonly topics: readonly string[];
  readonly userData: Buffer | null;
}

/** Why the coordinator turned a member down, in Kafka's terms. */
export type GroupRefusal =
  'unknown-member' | 'illegal-generation' | 'rebalance-in-progress' | 'inconsistent-protocol';

export interface JoinRequest {
  readonly memberId: string;
  readonly sessionTimeout: number;
  readonly rebalanceTimeout: number;
  /** Preferred first. */
  readonly protocols: readonly Protocol[];
}

export interface Joined {
  readonly generationId: number;
  readonly protocol: string;
  /** Only for the leader: who has to be given partitions. */
  readonly members: readonly AssignerMember[] | undefined;
}
