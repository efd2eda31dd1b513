import type {
  AssignedPartition,
  ConsumerListener,
  ConsumerStatus,
  DriverConsumer,
  RevocationReason,
} from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import { StaleMemberError } from '../errors/errors.js';
import {
  partitionName,
  type KafkaRecord,
  type PartitionOffset,
  type TopicPartition,
} from '../messages/record.js';
import { settlesWithin, type Timer } from '../runtime/clock.js';
import { hasBegun, NOTHING_BEGUN, type BegunOffsets } from './begun-offsets.js';
import { givenUp, outOfRange } from './consumer.messages.js';
import type { EngineContext, EnginePorts } from './engine-context.js';
import { Gate, type GateState } from './gate.js';
import { LostEnds } from './lost-ends.js';
import { PartitionProcessor } from './partition-processor.js';
import { Semaphore } from './semaphore.js';
import { tellRebalanced } from './tell-rebalanced.js';

/** Where the consumer tells what happens to it. */
export interface RecordConsumerListener {
  onStatus(status: ConsumerStatus, detail?: string): void;
}

/**
 * Consumes the partitions that the group assigns: one processor each, offsets committed on an interval and before a
 * partition is given away.
 */
export class RecordConsumer implements ConsumerListener {
  private readonly processors = new Map<string, PartitionProcessor>();
  /** What the broker has stored, by assignment: the next one of a partition starts anew. */
  private readonly committed = new WeakMap<PartitionProcessor, bigint>();
  /** What handlers were called for, by topic id and partition; outlives assignments. */
  private readonly begun = new Map<string, BegunOffsets>();
  /** End what they are doing; others took their partitions over at a seek. */
  private readonly superseded = new Set<PartitionProcessor>();
  private commitTimer: Timer | undefined;
  private committing: Promise<void> = Promise.resolve();
  private readonly context: EngineContext;
  private readonly lostEnds: LostEnds;
  private completedSinceCommit = 0;
  private closing = false;

  constructor(
    private readonly consumer: DriverConsumer,
    ports: EnginePorts,
    private readonly listener: RecordConsumerListener,
  ) {
    const counters = { retried: 0, gateClosed: 0 };
    this.context = {
      ...ports,
      counters,
      gate: new Gate(ports.clock, ports.log, ports.groupId, () => counters.gateClosed++),
      slots: new Semaphore(ports.options.concurrency),
      completed: () => this.completed(),
      confirmMembership: () => consumer.confirmMembership(),
      endOfEpoch: (partition, leaderEpoch) => consumer.endOfEpoch(partition, leaderEpoch),
      suspectBroker: (error) => this.suspectBroker(error),
      produce: (record) =>
        ports.produce(record).catch((error: unknown) => {
          this.suspectBroker(error);
          throw error;
        }),
      parkingPolicy: ports.options.parking,
      pause: (partition) => consumer.pause([partition]),
      resume: (partition) => consumer.resume([partition]),
    };
    this.lostEnds = new LostEnds(consumer, this.context, {
      processorOf: (partition) => this.processors.get(partitionName(partition)),
      restartAt: (offset, partition) => this.restartAt(offset, partition),
      commit: (processor) => this.commit([processor]).then(() => this.committed.has(processor)),
    });
  }

  /** Resolves after the first assignment. A failure leaves nothing open. */
  async start(): Promise<void> {
    await this.consumer.start(this);
    this.scheduleCommit();
  }

  /** Ends what runs (at most `shutdownTimeout`), commits, leaves the group. Idempotent; tolerates never-started. */
  async stop(): Promise<void> {
    this.closing = true;
    this.context.clock.clearTimeout(this.commitTimer);
    try {
      await this.consumer.stop();
    } finally {
      this.context.gate.stop();
    }
  }

  /**
   * Has no handler called for a partition, and nothing fetched of it, until `resume`. The run under way goes on. Ends
   * with the assignment. Several holders may pause a partition; it rests until each has resumed it.
   */
  pause(partition: TopicPartition, holder: unknown): void {
    this.processors.get(partitionName(partition))?.pause.hold(holder);
  }

  resume(partition: TopicPartition, holder: unknown): void {
    this.processors.get(partitionName(partition))?.pause.release(holder);
  }

  /**
   * Reading of a partition goes on at `offset`: the handler that runs ends, what was fetched and not begun is forgotten,
   * and so is a record that is being retried. To be followed by the seek itself.
   */
  restartAt(offset: bigint, partition: TopicPartition): void {
    const name = partitionName(partition);
    const old = this.processors.get(name);
    if (!old) return;
    const processor = new PartitionProcessor(
      { ...old.partition, startOffset: offset },
      this.context,
      old.begun,
    );
    processor.pause.takeOver(old.pause);
    // One at a time: what is read from there on waits for the end of what runs.
    processor.pause.hold(old);
    this.processors.set(name, processor);
    this.superseded.add(old);
    void old.drain().then(() => {
      this.superseded.delete(old);
      processor.pause.release(old);
    });
  }

  /** How far each partition held now is done: what would be committed. */
  get positions(): PartitionOffset[] {
    return [...this.processors.values()].map(({ partition, position }) => ({
      topic: partition.topic,
      partition: partition.partition,
      offset: position,
    }));
  }

  /** Whether a record lies in a partition held now and no handler was called for it yet. */
  isYetToHandle(record: PartitionOffset): boolean {
    const processor = this.processors.get(partitionName(record));
    return (
      processor !== undefined &&
      processor.position <= record.offset &&
      !hasBegun(processor.begun, record.offset)
    );
  }

  /** Whether work is held, since the database or the broker is away. */
  get gate(): GateState {
    return this.context.gate.state;
  }

  /**
   * Told by whoever failed to get something to the broker. Where the group's coordinator does not answer either, work is
   * held until it does; a topic that is missing, or whose leader is, holds only what is waiting for it.
   */
  suspectBroker(error: unknown): void {
    void this.context.gate.suspect(`the Kafka broker does not answer (${describeError(error)})`, async () => {
      if (await this.consumer.confirmMembership()) return;
      throw new StaleMemberError('This consumer is not a member of its group at the moment');
    });
  }

  /** The partitions held now. */
  get partitions(): AssignedPartition[] {
    return [...this.processors.values()].map(({ partition }) => partition);
  }

  /**
   * Stores where each partition starts before anything is read: of a group that begins at the end of a topic, a crash
   * before its first commit would otherwise skip what came in the meantime.
   */
  async onAssigned(partitions: readonly AssignedPartition[]): Promise<void> {
    const assigned = partitions.map((partition) => {
      const begun = this.begun.get(identity(partition)) ?? NOTHING_BEGUN;
      return new PartitionProcessor(partition, this.context, begun);
    });
    for (const processor of assigned) this.processors.set(partitionName(processor.partition), processor);
    tellRebalanced(this.context.groupId, 'assigned', partitions);
    void this.openParked(assigned);
    await Promise.all([this.commit(assigned), this.context.beforeReading()]);
  }

  async onRevoked(partitions: readonly AssignedPartition[], reason: RevocationReason): Promise<void> {
    tellRebalanced(this.context.groupId, reason, partitions);
    const leaving = partitions.flatMap((partition) => this.processors.get(partitionName(partition)) ?? []);
    const names = new Set(partitions.map(partitionName));
    const ending = [...this.superseded].filter(({ partition }) => names.has(partitionName(partition)));
    if (reason === 'revoked') {
      await this.drain([...leaving, ...ending]);
      await this.commit(leaving);
    }
    await Promise.all([...leaving, ...ending].map((processor) => processor.stop()));
    for (const processor of leaving) {
      const name = partitionName(processor.partition);
      this.begun.set(identity(processor.partition), processor.begun);
      // The driver may have stopped waiting, and assigned the partition anew.
      if (this.processors.get(name) === processor) this.processors.delete(name);
    }
  }

  onRecords(partition: AssignedPartition, records: readonly KafkaRecord[]): void {
    const processor = this.processors.get(partitionName(partition));
    if (processor?.partition.rebalanceId === partition.rebalanceId) processor.push(records);
  }

  onStatus(status: ConsumerStatus, detail?: string): void {
    this.listener.onStatus(status, detail);
  }

  onOffsetOutOfRange(partition: AssignedPartition, wanted: bigint, resumeAt: bigint): void {
    this.context.log.error(outOfRange(partitionName(partition), wanted, resumeAt));
    if (wanted > resumeAt) void this.lostEnds.follow(partition, resumeAt);
  }

  /** Also a partition that gets no record any more has its parked ones tried again. */
  private async openParked(assigned: readonly PartitionProcessor[]): Promise<void> {
    const { parking, groupId } = this.context;
    if (!parking) return;
    const partitions = assigned.map(({ partition }) => partition);
    // Whoever can't be asked now is asked by each of them, until it answers.
    const parked = await parking.partitionsOf(groupId, partitions).catch(() => partitions);
    const names = new Set(parked.map(partitionName));
    for (const processor of assigned) {
      if (names.has(partitionName(processor.partition))) processor.letters.wake();
    }
  }

  /** Lets handlers end; whoever takes longer is aborted by the `stop` that follows. */
  private async drain(processors: readonly PartitionProcessor[]): Promise<void> {
    const { clock, options, log } = this.context;
    const late = new Set(processors);
    const drained = Promise.all(
      processors.map((processor) => processor.drain().then(() => late.delete(processor))),
    );
    const bound = this.closing ? options.shutdownTimeout : options.revocationTimeout;
    if (await settlesWithin(clock, drained, bound)) return;
    const places = [...late].map(({ partition }) => partitionName(partition));
    const why = this.closing ? 'shutdownTimeout' : 'the time that a rebalance leaves';
    log.warn(givenUp(places, why, bound));
  }

  private completed(): void {
    if (++this.completedSinceCommit < this.context.options.commitThreshold) return;
    void this.commit([...this.processors.values()]);
  }

  private scheduleCommit(): void {
    if (!this.context.options.commitOffsets) return;
    this.commitTimer = this.context.clock.setTimeout(() => {
      void this.commit([...this.processors.values()]).then(() => {
        if (!this.closing) this.scheduleCommit();
      });
    }, this.context.options.commitInterval);
  }

  /** One commit at a time: an older one must not overtake a newer. Never rejects. */
  private commit(processors: readonly PartitionProcessor[]): Promise<void> {
    if (!this.context.options.commitOffsets) return Promise.resolve();
    this.committing = this.committing.then(() => this.commitNow(processors));
    return this.committing;
  }

  private async commitNow(processors: readonly PartitionProcessor[]): Promise<void> {
    this.completedSinceCommit = 0;
    const due = new Map<PartitionProcessor, PartitionOffset>();
    for (const processor of processors) {
      const { partition, position } = processor;
      // Its turn may come when the assignment is over: what it says then is not about the next one.
      if (this.processors.get(partitionName(partition)) !== processor || this.lostEnds.isOpen(processor))
        continue;
      if (position <= (this.committed.get(processor) ?? -1n)) continue;
      due.set(processor, { topic: partition.topic, partition: partition.partition, offset: position });
    }
    if (due.size === 0) return;
    try {
      await this.consumer.commit([...due.values()]);
      for (const [processor, { offset }] of due) {
        this.committed.set(processor, offset);
        processor.committed(offset);
      }
    } catch (error) {
      // The next tick tries again; a member that is out of its group hears of it by its revocation.
      if (error instanceof StaleMemberError) return;
      if (this.context.gate.isOpen) this.context.log.warn(`Offsets not committed: ${describeError(error)}`);
      this.suspectBroker(error);
    }
  }
}

/** A topic made anew under the same name starts anew. */
function identity({ topicId, partition }: AssignedPartition): string {
  return `${topicId} ${partition}`;
}
