import type {
  AssignedPartition,
  ConsumerListener,
  ConsumerStatus,
  DriverConsumer,
  RevocationReason,
} from '../../driver/driver.js';
import {
  type KafkaRecord,
  partitionName,
  type PartitionOffset,
  type TopicPartition,
} from '../../messages/record.js';

/** What a test does inside the callbacks. */
export interface ListenerHooks {
  onAssigned?(partitions: readonly AssignedPartition[], consumer: RecordingConsumer): Promise<void> | void;
  onRevoked?(
    partitions: readonly AssignedPartition[],
    reason: RevocationReason,
    consumer: RecordingConsumer,
  ): Promise<void> | void;
  onRecords?(
    partition: AssignedPartition,
    records: readonly KafkaRecord[],
    consumer: RecordingConsumer,
  ): void;
}

interface Held {
  readonly partition: AssignedPartition;
  /** The offset that has to come next. */
  next: bigint;
  ready: boolean;
  paused: boolean;
}

/**
 * A consumer under test with a listener that writes everything down, and notes as violations what must never happen
 * whatever a test is about: records out of order, missing or repeated, of a partition that is paused or not held,
 * before an assignment was taken or after a stop. It presumes topics whose offsets have no gaps.
 */
export class RecordingConsumer implements ConsumerListener {
  readonly assignments: (readonly AssignedPartition[])[] = [];
  readonly revocations: {
    readonly partitions: readonly AssignedPartition[];
    readonly reason: RevocationReason;
  }[] = [];
  readonly records: KafkaRecord[] = [];
  readonly resets: {
    readonly partition: AssignedPartition;
    readonly wanted: bigint;
    readonly resumeAt: bigint;
  }[] = [];
  readonly statuses: ConsumerStatus[] = [];
  readonly violations: string[] = [];
  readonly #held = new Map<string, Held>();
  #stopped = false;

  constructor(
    readonly driver: DriverConsumer,
    private readonly hooks: ListenerHooks = {},
  ) {}

  async start(): Promise<this> {
    await this.driver.start(this);
    return this;
  }

  async stop(): Promise<void> {
    await this.driver.stop();
    this.#stopped = true;
  }

  pause(...partitions: TopicPartition[]): void {
    this.driver.pause(partitions);
    for (const held of this.#those(partitions)) held.paused = true;
  }

  resume(...partitions: TopicPartition[]): void {
    for (const held of this.#those(partitions)) held.paused = false;
    this.driver.resume(partitions);
  }

  seek(position: PartitionOffset): void {
    for (const held of this.#those([position])) held.next = position.offset;
    this.driver.seek(position);
  }

  /** Names of the partitions held now, sorted. */
  get owned(): string[] {
    return [...this.#held]
      .filter(([, { ready }]) => ready)
      .map(([name]) => name)
      .sort();
  }

  /** What commits everything that was handed over of these partitions. */
  progress(partitions: readonly AssignedPartition[]): PartitionOffset[] {
    return partitions.flatMap(({ topic, partition, startOffset }) => {
      const last = this.of({ topic, partition }).at(-1);
      return last === undefined
        ? []
        : [{ topic, partition, offset: last.offset < startOffset ? startOffset : last.offset + 1n }];
    });
  }

  of({ topic, partition }: TopicPartition): KafkaRecord[] {
    return this.records.filter((record) => record.topic === topic && record.partition === partition);
  }

  values(partition?: TopicPartition): string[] {
    return (partition ? this.of(partition) : this.records).map(({ value }) => String(value));
  }

  async onAssigned(partitions: readonly AssignedPartition[]): Promise<void> {
    this.#expect(!this.#stopped, 'onAssigned after stop');
    this.assignments.push(partitions);
    for (const partition of partitions) {
      const name = partitionName(partition);
      this.#expect(!this.#held.has(name), `${name} was assigned twice`);
      this.#held.set(name, { partition, next: partition.startOffset, ready: false, paused: false });
    }
    await this.hooks.onAssigned?.(partitions, this);
    for (const held of this.#those(partitions)) held.ready = true;
  }

  async onRevoked(partitions: readonly AssignedPartition[], reason: RevocationReason): Promise<void> {
    this.#expect(!this.#stopped, 'onRevoked after stop');
    this.revocations.push({ partitions, reason });
    for (const partition of partitions) {
      const name = partitionName(partition);
      this.#expect(
        this.#held.get(name)?.partition.rebalanceId === partition.rebalanceId,
        `${name} was not held`,
      );
      this.#held.delete(name);
    }
    await this.hooks.onRevoked?.(partitions, reason, this);
  }

  onRecords(partition: AssignedPartition, records: readonly KafkaRecord[]): void {
    const name = partitionName(partition);
    const held = this.#held.get(name);
    this.#expect(!this.#stopped, `records of ${name} after stop`);
    this.#expect(records.length > 0, `no records at all for ${name}`);
    if (!held || held.partition.rebalanceId !== partition.rebalanceId) {
      this.violations.push(`records of ${name}, which is not held`);
      return;
    }
    this.#expect(held.ready, `records of ${name} before its assignment was taken`);
    this.#expect(!held.paused, `records of ${name} while it is paused`);
    for (const record of records) {
      this.#expect(
        partitionName(record) === name,
        `a record of ${partitionName(record)} among those of ${name}`,
      );
      this.#expect(
        record.offset === held.next,
        `offset ${record.offset} of ${name} where ${held.next} was due`,
      );
      held.next = record.offset + 1n;
    }
    this.records.push(...records);
    this.hooks.onRecords?.(partition, records, this);
  }

  onStatus(status: ConsumerStatus): void {
    this.#expect(!this.#stopped, `status ${status} after stop`);
    this.statuses.push(status);
  }

  onOffsetOutOfRange(partition: AssignedPartition, wanted: bigint, resumeAt: bigint): void {
    const held = this.#held.get(partitionName(partition));
    this.#expect(
      held !== undefined && !this.#stopped,
      `${partitionName(partition)} out of range, which is not held`,
    );
    this.#expect(held?.next === wanted, `offset ${wanted} is out of range where ${held?.next} was due`);
    if (held) held.next = resumeAt;
    this.resets.push({ partition, wanted, resumeAt });
  }

  #those(partitions: readonly TopicPartition[]): Held[] {
    return partitions.map((each) => this.#held.get(partitionName(each))).filter((each) => each !== undefined);
  }

  #expect(condition: boolean, violation: string): void {
    if (!condition) this.violations.push(violation);
  }
}
