import type { AssignedPartition, ConsumerStatus, DriverReader, ReaderListener } from '../driver/driver.js';
import { partitionName, type KafkaRecord, type TopicPartition } from '../messages/record.js';
import type { Log } from '../runtime/log.js';
import type { ReplyRegistry } from './reply-registry.js';

/**
 * Reads reply partitions, whatever the group is at.
 *
 * Why no reply is lost although nothing is ever committed: a request leaves only when its reply partition is read, from
 * an end that was fixed before, so the reply comes after it. Reading goes on through rebalances, and where the partition
 * goes to another client, until every request that named it has settled. A restarted process starts at the end: nobody
 * in it waits for older replies.
 */
export class ReplyReader implements ReaderListener {
  private readonly used = new Set<string>();

  constructor(
    private readonly reader: DriverReader,
    private readonly registry: ReplyRegistry,
    private readonly log: Log,
    private readonly hooks: { onStatus(status: ConsumerStatus): void },
  ) {}

  start(): Promise<void> {
    return this.reader.start(this);
  }

  stop(): Promise<void> {
    return this.reader.stop();
  }

  /** Requests may name the partition as soon as this resolves. */
  async use(partition: TopicPartition): Promise<void> {
    this.used.add(partitionName(partition));
    await this.reader.read(partition);
  }

  /** No further request names the partition. It is read until those that do have settled. */
  async release(partition: TopicPartition): Promise<void> {
    this.used.delete(partitionName(partition));
    await this.registry.settled(partition);
    // It may have come back meanwhile.
    if (!this.used.has(partitionName(partition))) this.reader.drop(partition);
  }

  onRecords(_partition: AssignedPartition, records: readonly KafkaRecord[]): void {
    for (const record of records) this.registry.deliver(record);
  }

  onStatus(status: ConsumerStatus): void {
    this.hooks.onStatus(status);
  }

  onOffsetOutOfRange(partition: AssignedPartition, wanted: bigint, resumeAt: bigint): void {
    this.log.warn(
      `Replies in ${partitionName(partition)} from offset ${wanted} are gone; reading goes on at ${resumeAt}`,
    );
  }
}
