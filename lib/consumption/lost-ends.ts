import type { AssignedPartition, DriverConsumer } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import { partitionName, type TopicPartition } from '../messages/record.js';
import { sleep } from '../runtime/clock.js';
import { stillToFollow } from './consumer.messages.js';
import type { EngineContext } from './engine-context.js';
import type { PartitionProcessor } from './partition-processor.js';

/** Between two tries, milliseconds. */
const PATIENCE = 1_000;

/** Whose partitions they are. */
export interface LostEndsHost {
  processorOf(partition: TopicPartition): PartitionProcessor | undefined;
  restartAt(offset: bigint, partition: TopicPartition): void;
  /** Resolves with whether the broker has stored where it stands. */
  commit(processor: PartitionProcessor): Promise<boolean>;
}

/**
 * Partitions whose log lost its end. Before a record is handled that came since, two things are put right, in this order:
 * what resources know of the lost records, and the group's offset. Whoever takes the partition over in between finds the
 * loss anew, by the offset. The other way round, or with new records handled before, nobody would find it, or would take
 * what was handled since for lost.
 */
export class LostEnds {
  /** By name, with the assignment. */
  private readonly open = new Map<string, number>();

  constructor(
    private readonly consumer: Pick<DriverConsumer, 'pause' | 'seek'>,
    private readonly context: EngineContext,
    private readonly host: LostEndsHost,
  ) {}

  /** Where it stands must not be stored: that may be behind the end, or hide from the next owner that it was lost. */
  isOpen({ partition }: PartitionProcessor): boolean {
    return this.open.get(partitionName(partition)) === partition.rebalanceId;
  }

  /** Resolves when it is put right, or the partition is somebody else's. Never rejects. */
  async follow(lost: AssignedPartition, end: bigint): Promise<void> {
    const name = partitionName(lost);
    this.open.set(name, lost.rebalanceId);
    // What is read from now on comes too early; it is read again.
    this.consumer.pause([lost]);
    const processor = await this.putRight(lost, end);
    if (!processor) return;
    // Records that were fetched before, and are still there, may wait for their turn.
    const from = processor.position < end ? processor.position : end;
    this.host.restartAt(from, lost);
    const next = this.host.processorOf(lost)!;
    next.pause.hold(this);
    this.consumer.seek({ topic: lost.topic, partition: lost.partition, offset: from });
    this.open.delete(name);
    const { commitOffsets } = this.context.options;
    while (commitOffsets && this.isCurrent(next) && !(await this.host.commit(next))) await this.wait(next);
    next.pause.release(this);
  }

  /** Resolves with who has the partition now, and is idle; with `undefined` if it was taken away. */
  private async putRight(lost: AssignedPartition, end: bigint): Promise<PartitionProcessor | undefined> {
    for (;;) {
      const processor = this.host.processorOf(lost);
      if (processor?.partition.rebalanceId !== lost.rebalanceId) return undefined;
      await processor.drain();
      // Somebody may have had the partition read from elsewhere.
      if (!this.isCurrent(processor)) continue;
      try {
        const { groupId: group, confirmMembership: confirm, produce } = this.context;
        await this.context.followLostEnd({ group, partition: lost, end, confirm, produce });
        if (this.isCurrent(processor)) return processor;
      } catch (error) {
        this.context.log.warn(stillToFollow(partitionName(lost), describeError(error)));
        await this.wait(processor);
      }
    }
  }

  private isCurrent(processor: PartitionProcessor): boolean {
    return this.host.processorOf(processor.partition) === processor;
  }

  private wait(processor: PartitionProcessor): Promise<void> {
    return this.isCurrent(processor) ? sleep(this.context.clock, PATIENCE) : Promise.resolve();
  }
}
