import type { ConsumerStatus } from '../driver/driver.js';
import type { ReplyPartitions } from './reply-partition-assigner.js';

/** Which partition of each reply topic a client's replies are sent to. Its records are read by `ReplyReader`. */
export interface ReplyPath {
  readonly topics: ReadonlySet<string>;
  /** Where replies of each topic are sent to at the moment. */
  readonly partitions: ReplyPartitions;
  /** Resolves when replies can be asked for. Rejects with nothing left open. */
  start(): Promise<void>;
  /** Lets everybody go who waits for a partition. Idempotent. */
  stop(): Promise<void>;
  /**
   * The partition of `topic`; waits where it is only just being found. Not bounded: whoever waits has a timeout.
   * @throws ReplyPartitionMissingError if there is none for this client.
   */
  waitForPartition(topic: string): Promise<number>;
}

export interface ReplyPathHooks {
  onStatus(status: ConsumerStatus): void;
  /** How many partitions a topic has. */
  countPartitions(topic: string): Promise<number>;
}
