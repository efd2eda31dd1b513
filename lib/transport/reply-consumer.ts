import type {
  AssignedPartition,
  ConsumerListener,
  ConsumerStatus,
  DriverConsumer,
  RevocationReason,
} from '../driver/driver.js';
import { ConnectionClosedError, ReplyPartitionMissingError } from '../errors/errors.js';
import { partitionName, type KafkaRecord } from '../messages/record.js';
import { deferred } from '../runtime/deferred.js';
import type { Log } from '../runtime/log.js';
import { clientMessages } from './client.messages.js';
import { replyPartitions, type ReplyPartitions } from './reply-partition-assigner.js';
import type { ReplyRegistry } from './reply-registry.js';

export interface ReplyConsumerHooks {
  onStatus(status: ConsumerStatus): void;
  /** How many partitions a topic has; only asked to explain an error. */
  countPartitions(topic: string): Promise<number>;
}

interface Position {
  readonly topicId: string;
  next: bigint;
}

/**
 * Reads the reply topics and knows which partition each topic's replies are to be sent to.
 *
 * Why no reply is lost although nothing is ever committed: a request leaves only when its reply partition is held, and
 * by then `onAssigned` has fixed the offset that reading starts at, so the reply comes at or after it. A rebalance
 * would start the partition at its end again and skip what arrived in between: the position is remembered here and
 * sought when the partition comes back. A partition that went to another member is forgotten instead, since reading
 * everything it received there would hold up our own replies. A restarted process starts at the end: nobody in it
 * waits for older replies.
 */
export class ReplyConsumer implements ConsumerListener {
  private readonly held = new Map<string, AssignedPartition>();
  private readonly positions = new Map<string, Position>();
  private targets: ReplyPartitions = {};
  /** From an assignment to the next revocation: what is not held now will not come by waiting. */
  private isSettled = false;
  private isStopped = false;
  private change = deferred();
  private missing = new Map<string, Promise<Error>>();

  constructor(
    private readonly consumer: DriverConsumer,
    readonly topics: ReadonlySet<string>,
    private readonly registry: ReplyRegistry,
    private readonly log: Log,
    private readonly hooks: ReplyConsumerHooks,
  ) {}

  /** Where replies of each topic are sent to at the moment. */
  get partitions(): ReplyPartitions {
    return this.targets;
  }

  /** The partition that replies of `topic` are to be sent to, if this member holds one now. */
  partitionOf(topic: string): number | undefined {
    return this.targets[topic];
  }

  /**
   * As `partitionOf`, but waits for a rebalance that is under way. Not bounded: whoever waits has a timeout.
   * @throws ReplyPartitionMissingError if the group has given this member none.
   */
  async waitForPartition(topic: string): Promise<number> {
    for (;;) {
      const partition = this.partitionOf(topic);
      if (partition !== undefined) return partition;
      if (this.isStopped) throw new ConnectionClosedError(clientMessages.closedBeforeSent());
      if (this.isSettled) throw await this.missingError(topic);
      await this.change.promise;
    }
  }

  /** Lets everybody go who waits for a partition. */
  stopped(): void {
    this.isStopped = true;
    this.held.clear();
    this.targets = {};
    this.notify();
  }

  onAssigned(partitions: readonly AssignedPartition[]): Promise<void> {
    for (const partition of partitions) {
      const name = partitionName(partition);
      this.held.set(name, partition);
      const known = this.positions.get(name);
      if (known?.topicId === partition.topicId) {
        const { topic, partition: number, startOffset } = partition;
        if (known.next !== startOffset) this.consumer.seek({ topic, partition: number, offset: known.next });
      } else {
        this.positions.set(name, { topicId: partition.topicId, next: partition.startOffset });
      }
    }
    for (const name of this.positions.keys()) if (!this.held.has(name)) this.positions.delete(name);
    this.targets = replyPartitions(this.previousTargets, [...this.held.values()]);
    this.previousTargets = this.targets;
    this.isSettled = true;
    this.missing = new Map();
    this.notify();
    return Promise.resolve();
  }

  onRevoked(partitions: readonly AssignedPartition[], _reason: RevocationReason): Promise<void> {
    for (const partition of partitions) this.held.delete(partitionName(partition));
    this.isSettled = false;
    this.targets = replyPartitions(this.targets, [...this.held.values()]);
    return Promise.resolve();
  }

  onRecords(partition: AssignedPartition, records: readonly KafkaRecord[]): void {
    const last = records.at(-1);
    if (!last) return;
    this.positions.set(partitionName(partition), { topicId: partition.topicId, next: last.offset + 1n });
    for (const record of records) this.registry.deliver(record);
  }

  onStatus(status: ConsumerStatus, detail?: string): void {
    if (status === 'crashed')
      this.log.warn(`The reply consumer rejoins its group: ${detail ?? 'no reason given'}`);
    this.hooks.onStatus(status);
  }

  onOffsetOutOfRange(partition: AssignedPartition, wanted: bigint, resumeAt: bigint): void {
    this.positions.set(partitionName(partition), { topicId: partition.topicId, next: resumeAt });
    this.log.warn(
      `Replies in ${partitionName(partition)} from offset ${wanted} are gone; reading goes on at ${resumeAt}`,
    );
  }

  /** Of the last full assignment: in a rebalance everything is revoked before it comes back. */
  private previousTargets: ReplyPartitions = {};

  private notify(): void {
    this.change.resolve();
    this.change = deferred();
  }

  /** Asked for once per assignment, however many requests fail. */
  private missingError(topic: string): Promise<Error> {
    let error = this.missing.get(topic);
    if (!error) {
      error = this.hooks.countPartitions(topic).then(
        (count) => missingPartition(topic, count),
        () => missingPartition(topic, undefined),
      );
      this.missing.set(topic, error);
    }
    return error;
  }
}

function missingPartition(topic: string, count: number | undefined): Error {
  return new ReplyPartitionMissingError(clientMessages.partitionMissing(topic, count));
}
