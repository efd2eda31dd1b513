import type {
  DriverAdmin,
  DriverConsumer,
  DriverConsumerOptions,
  DriverProducer,
  DriverProducerOptions,
  DriverReader,
  DriverReaderOptions,
  KafkaDriver,
} from '../../driver/driver.js';
import { InvalidOptionError } from '../../errors/errors.js';
import type { KafkaRecord, PartitionOffset, RecordMetadata } from '../../messages/record.js';
import { type Clock, systemClock } from '../../runtime/clock.js';
import { Cluster } from './cluster.js';
import type { InMemoryKafkaFaults } from './faults.js';
import type { GroupState } from './group.js';
import { committedOffsets, InMemoryAdmin } from './in-memory-admin.js';
import { InMemoryConsumer } from './in-memory-consumer.js';
import { InMemoryReader } from './in-memory-reader.js';
import { InMemoryProducer } from './in-memory-producer.js';
import { InMemoryKafkaProcess } from './in-memory-kafka-process.js';
import { type NativeMessage, outgoing } from './native-producer.js';
import { Partitioner } from './partitioner.js';
import type { PartitionLog } from './partition-log.js';
import { store } from './store.js';

export interface InMemoryKafkaOptions {
  /** Time, timers and ids. Given a deterministic one, a run is determined by it and the order of calls. Default: the real one. */
  readonly clock?: Clock | undefined;
  /** Whether producing to a topic that does not exist creates it. Default `true`. */
  readonly autoCreateTopics?: boolean | undefined;
  /** Partitions of a topic that is created without saying how many. Default 1. */
  readonly defaultPartitions?: number | undefined;
  /** Largest record the cluster takes, in bytes, overhead included. Default 1 048 588, as Kafka's. */
  readonly maxRecordBytes?: number | undefined;
  /** Milliseconds a client waits for an answer while the broker is paused. Default 30 000. */
  readonly requestTimeout?: number | undefined;
}

/** What the coordinator knows of a group. */
export interface InMemoryGroup {
  readonly state: GroupState;
  readonly generationId: number;
  readonly memberIds: readonly string[];
}

/**
 * A Kafka cluster inside this process, for tests and simulations. Topics, partitions, consumer groups, rebalances,
 * committed offsets and session timeouts behave as on a broker; nothing is kept when the object is gone.
 *
 * One object is one cluster: give the same to everything that is to talk to each other. Driver options about what this
 * cluster has none of (compression, racks, transactions, a client's native options) have no effect.
 */
export class InMemoryKafka implements KafkaDriver {
  readonly name = 'in-memory';
  /** This object itself: there is no other client behind it. */
  readonly native = this;
  /** Crashes, refusals and silence, on demand. */
  readonly faults: InMemoryKafkaFaults;
  readonly #cluster: Cluster;
  readonly #partitioner = new Partitioner();
  readonly #consumers = new Set<InMemoryConsumer>();

  constructor(options: InMemoryKafkaOptions = {}) {
    this.#cluster = Cluster.create({
      clock: options.clock ?? systemClock,
      autoCreateTopics: options.autoCreateTopics ?? true,
      defaultPartitions: atLeastOne('defaultPartitions', options.defaultPartitions ?? 1),
      maxRecordBytes: atLeastOne('maxRecordBytes', options.maxRecordBytes ?? 1_048_588),
      requestTimeout: atLeastOne('requestTimeout', options.requestTimeout ?? 30_000),
    });
    const { broker, coordinator, faults } = this.#cluster;
    this.faults = {
      crash: (client) => this.#crash(client),
      expel: (memberId) => {
        for (const group of coordinator.groups()) group.remove(memberId);
      },
      failProduce: (which, moment = 'before') => faults.produces.add(which, moment),
      failCommit: (which, moment = 'before') => faults.commits.add(which, moment),
      pauseBroker: () => broker.pause(),
      resumeBroker: () => broker.resume(),
    };
  }

  /**
   * A driver for one of several processes that a test plays. What its clients do and are told goes by `clock`, the broker
   * goes by the cluster's: a clock that holds its callbacks back is a process that stands still while all others go on.
   */
  process(clock: Clock): InMemoryKafkaProcess {
    const view = this.#cluster.seenBy(clock);
    return new InMemoryKafkaProcess(this, view, (consumer) => this.#consumers.add(consumer));
  }

  createConsumer(options: DriverConsumerOptions): DriverConsumer {
    const consumer = new InMemoryConsumer(this.#cluster, options);
    this.#consumers.add(consumer);
    return consumer;
  }

  createReader(options: DriverReaderOptions): DriverReader {
    return new InMemoryReader(this.#cluster, options);
  }

  createProducer(options: DriverProducerOptions = {}): DriverProducer {
    return new InMemoryProducer(this.#cluster, options);
  }

  createAdmin(): DriverAdmin {
    return new InMemoryAdmin(this.#cluster);
  }

  /** Creates a topic at once. One that exists stays as it is. */
  createTopic(topic: string, partitions?: number): void {
    this.#cluster.topics.create(topic, partitions);
  }

  /** Appends records to a topic at once, past all faults. Text is stored as UTF-8, objects have to be serialized first. */
  produce(topic: string, ...messages: readonly NativeMessage[]): RecordMetadata[] {
    return messages.map((message) => store(this.#cluster, outgoing(topic, message), this.#partitioner));
  }

  /** All records of a topic, partition by partition, each in offset order. None if there is no such topic. */
  records(topic: string): KafkaRecord[] {
    return this.#cluster.topics.get(topic)?.partitions.flatMap((log) => log.all()) ?? [];
  }

  /** What a group has committed for a topic, by partition; `-1n` where there is nothing. @throws TopicMissingError */
  committed(groupId: string, topic: string): PartitionOffset[] {
    return committedOffsets(this.#cluster, groupId, topic);
  }

  group(groupId: string): InMemoryGroup {
    const { state, generationId, memberIds } = this.#cluster.coordinator.group(groupId);
    return { state, generationId, memberIds };
  }

  /** Removes the records of a partition below `offset`, as retention does. */
  truncate(topic: string, partition: number, offset: bigint): void {
    this.#log(topic, partition).truncate(offset);
    this.#cluster.topics.changed(topic);
  }

  /**
   * Removes the records of a partition from `offset` on, as a new leader does that never had them: what is produced next
   * gets their offsets.
   */
  loseEnd(topic: string, partition: number, offset: bigint): void {
    this.#log(topic, partition).loseEnd(offset);
    this.#cluster.topics.changed(topic);
  }

  /** Gives a partition another leader, which has all its records: those that come now are of a higher leader epoch. */
  elect(topic: string, partition: number): void {
    const log = this.#log(topic, partition);
    this.loseEnd(topic, partition, log.high);
  }

  #log(topic: string, partition: number): PartitionLog {
    const log = this.#cluster.topics.expect(topic).partitions[partition];
    if (!log)
      throw new InvalidOptionError('partition', `is ${partition}, which topic "${topic}" does not have`);
    return log;
  }

  #crash(client: Parameters<InMemoryKafkaFaults['crash']>[0]): void {
    if (
      client instanceof InMemoryConsumer ||
      client instanceof InMemoryProducer ||
      client instanceof InMemoryReader ||
      client instanceof InMemoryAdmin
    ) {
      client.crash();
      return;
    }
    for (const consumer of this.#consumers) if (consumer.membership?.memberId === client) consumer.crash();
  }
}

function atLeastOne(option: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new InvalidOptionError(option, `must be a whole number above 0, not ${value}`);
}
