import type { AssignedPartition, DriverConsumer } from '../driver/driver.js';

/** Whoever has an assignment of a partition, and knows how far it is done. */
export interface AssignedLogHost {
  /** `undefined` if the assignment is over, or it is being put right that the partition's log lost its end. */
  settled(partition: AssignedPartition): { readonly position: bigint } | undefined;
}

/** What is known of the log of an assigned partition. */
export class AssignedLog {
  constructor(
    private readonly partition: AssignedPartition,
    private readonly consumer: Pick<DriverConsumer, 'leaderEpoch' | 'endOfEpoch'>,
    private readonly host: AssignedLogHost,
  ) {}

  /**
   * Of the leader whose log has all that was handed over; -1 if it can't be told. Neither while the log has lost its end:
   * what is at work then is not in this leader's log.
   */
  get leaderEpoch(): number {
    return this.host.settled(this.partition) ? this.consumer.leaderEpoch(this.partition) : -1;
  }

  /** Everything below it is done. */
  get position(): bigint {
    return this.host.settled(this.partition)?.position ?? this.partition.startOffset;
  }

  /** As `DriverConsumer.endOfEpoch`. */
  endOf(leaderEpoch: number): Promise<bigint | undefined> {
    return this.consumer.endOfEpoch(this.partition, leaderEpoch);
  }
}
