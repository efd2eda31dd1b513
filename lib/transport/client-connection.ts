import type { DriverConsumer, DriverProducer, KafkaDriver } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import { ConnectionClosedError, TopicMissingError, WrongCallOrderError } from '../errors/errors.js';
import type { Log } from '../runtime/log.js';
import { clientMessages } from './client.messages.js';
import { driverConsumerOptions, driverProducerOptions, driverReadOptions } from './driver-options.js';
import { ExclusiveReplyPath } from './exclusive-reply-path.js';
import { ineffectiveOptions } from './ineffective-options.js';
import { ReplyPartitionAssigner } from './reply-partition-assigner.js';
import type { ReplyPath } from './reply-path.js';
import { ReplyReader } from './reply-reader.js';
import type { ReplyRegistry } from './reply-registry.js';
import type { ResolvedOptions } from './resolve-options.js';
import { SharedReplyPath } from './shared-reply-path.js';
import { provisionTopics } from './topic-provisioner.js';

export interface ClientConnectionSettings {
  readonly options: ResolvedOptions;
  readonly groupId: string;
  /** Empty: no group is joined and nothing read. */
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
  /** Neither without reply topics, nor in `producerOnlyMode`. */
  readonly replies: ReplyPath | undefined;
  readonly reader: ReplyReader | undefined;
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
    const { options, replyTopics, log } = settings;
    for (const warning of ineffectiveOptions(options.given)) log.warn(warning);
    const driver = await settings.createDriver();
    const producer = driver.createProducer(driverProducerOptions(options));
    producer.onStatus((status) => settings.onStatus(status));
    const parts: Opened = { driver, producer, ...this.replyParts(driver) };
    try {
      this.expectOpen();
      await producer.connect();
      this.expectOpen();
      if (parts.replies && parts.reader && replyTopics.length > 0) {
        if (options.provision) await provisionTopics(driver, replyTopics);
        this.expectOpen();
        await parts.reader.start();
        this.expectOpen();
        await parts.replies.start();
        this.expectOpen();
      }
    } catch (error) {
      await this.dispose(parts);
      throw error;
    }
    this.parts = parts;
    return parts;
  }

  private replyParts(driver: KafkaDriver): Pick<Opened, 'consumer' | 'reader' | 'replies'> {
    const { options, groupId, replyTopics, producerOnlyMode, log, onStatus } = this.settings;
    if (producerOnlyMode) return { consumer: undefined, reader: undefined, replies: undefined };
    const topics = new Set(replyTopics);
    const hooks = {
      onStatus: (status: string) => onStatus(status),
      countPartitions: (topic: string) => countPartitions(driver, topic),
    };
    const reader = new ReplyReader(
      driver.createReader({ ...driverReadOptions(options), topics: replyTopics }),
      this.registry,
      log,
      hooks,
    );
    if (options.replyPartition === 'shared') {
      const replies = new SharedReplyPath(topics, reader, options.clock, hooks);
      return { consumer: undefined, reader, replies };
    }
    const consumer = driver.createConsumer({
      ...driverConsumerOptions(options),
      groupId,
      topics: replyTopics,
      fromBeginning: false,
      assigners: [new ReplyPartitionAssigner(options.clock)],
    });
    return { consumer, reader, replies: new ExclusiveReplyPath(topics, consumer, reader, log, hooks) };
  }

  private async release(): Promise<void> {
    // A driver need not bear a stop in the middle of its start; `expectOpen` ends the attempt at its next step.
    await this.opening?.catch(() => undefined);
    if (this.parts) await this.dispose(this.parts);
    this.parts = undefined;
  }

  private async dispose({ producer, replies, reader }: Opened): Promise<void> {
    for (const end of [() => replies?.stop(), () => reader?.stop(), () => producer.disconnect()]) {
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
