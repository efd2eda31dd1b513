import type { DriverConsumer, DriverProducer, KafkaDriver } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import { ConnectionClosedError, TopicMissingError, WrongCallOrderError } from '../errors/errors.js';
import type { Log } from '../runtime/log.js';
import { clientMessages } from './client.messages.js';
import { driverConsumerOptions, driverProducerOptions } from './driver-options.js';
import { ReplyConsumer } from './reply-consumer.js';
import { ReplyPartitionAssigner } from './reply-partition-assigner.js';
import type { ReplyRegistry } from './reply-registry.js';
import type { ResolvedOptions } from './resolve-options.js';
import { provisionTopics } from './topic-provisioner.js';

export interface ClientConnectionSettings {
  readonly options: ResolvedOptions;
  readonly groupId: string;
  /** Empty: the consumer never joins its group. */
  readonly replyTopics: readonly string[];
  readonly producerOnlyMode: boolean;
  readonly log: Log;
  createDriver(): KafkaDriver | Promise<KafkaDriver>;
  onStatus(status: string): void;
}

interface Opened {
  readonly driver: KafkaDriver;
  readonly producer: DriverProducer;
  readonly consumer: DriverConsumer | undefined;
  readonly replies: ReplyConsumer | undefined;
}

/**
 * One life of a client, from `open` to `close`. A client that connects again takes a new one: what belonged to the old
 * one (generation, positions, reply partitions) must not survive in it.
 */
export class ClientConnection {
  private opening: Promise<Opened> | undefined;
  private closing: Promise<void> | undefined;
  private parts: Opened | undefined;

  constructor(
    private readonly settings: ClientConnectionSettings,
    private readonly registry: ReplyRegistry,
    /** The end of the connection before this one, so that two never share a group at once. */
    private readonly predecessor: Promise<void> | undefined,
  ) {}

  /**
   * Connects, provisions reply topics and joins the group. Calls share one attempt.
   * Rejects with nothing left open; `ConnectionClosedError` if `close()` came in between.
   */
  open(): Promise<Opened> {
    return (this.opening ??= this.establish());
  }

  /** What `open` made. @throws WrongCallOrderError before. */
  get opened(): Opened {
    if (!this.parts) throw new WrongCallOrderError(clientMessages.notInitialized());
    return this.parts;
  }

  get isOpen(): boolean {
    return this.parts !== undefined && this.closing === undefined;
  }

  /** Leaves the group and disconnects. Idempotent, never rejects. */
  close(): Promise<void> {
    return (this.closing ??= this.release());
  }

  private async establish(): Promise<Opened> {
    await this.predecessor;
    const { settings } = this;
    const { options, groupId, replyTopics, producerOnlyMode, log } = settings;
    const driver = await settings.createDriver();
    const producer = driver.createProducer(driverProducerOptions(options));
    producer.onStatus((status) => settings.onStatus(status));
    const consumer = producerOnlyMode
      ? undefined
      : driver.createConsumer({
          ...driverConsumerOptions(options),
          groupId,
          topics: replyTopics,
          fromBeginning: false,
          assigners: [new ReplyPartitionAssigner(options.clock)],
        });
    const replies =
      consumer &&
      new ReplyConsumer(consumer, new Set(replyTopics), this.registry, log, {
        onStatus: (status) => settings.onStatus(status),
        countPartitions: (topic) => countPartitions(driver, topic),
      });
    const parts: Opened = { driver, producer, consumer, replies };
    try {
      this.expectOpen();
      await producer.connect();
      this.expectOpen();
      if (consumer && replies && replyTopics.length > 0) {
        if (options.provision) await provisionTopics(driver, replyTopics);
        this.expectOpen();
        await consumer.start(replies);
        this.expectOpen();
      }
    } catch (error) {
      await this.dispose(parts);
      throw error;
    }
    this.parts = parts;
    return parts;
  }

  private async release(): Promise<void> {
    // A driver need not bear a stop in the middle of its start; `expectOpen` ends the attempt at its next step.
    await this.opening?.catch(() => undefined);
    if (this.parts) await this.dispose(this.parts);
    this.parts = undefined;
  }

  private async dispose({ consumer, producer, replies }: Opened): Promise<void> {
    replies?.stopped();
    for (const end of [() => consumer?.stop(), () => producer.disconnect()]) {
      try {
        await end();
      } catch (error) {
        this.settings.log.warn(`The client did not close cleanly: ${describeError(error)}`);
      }
    }
  }

  private expectOpen(): void {
    if (this.closing) throw new ConnectionClosedError(clientMessages.closedWhileConnecting());
  }
}

async function countPartitions(driver: KafkaDriver, topic: string): Promise<number> {
  const admin = driver.createAdmin();
  try {
    await admin.connect();
    const [description] = await admin.describeTopics([topic]);
    if (!description) throw new TopicMissingError(`The reply topic "${topic}" does not exist`);
    return description.partitions.length;
  } finally {
    await admin.disconnect();
  }
}
