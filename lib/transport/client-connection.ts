import type { DriverConsumer, DriverProducer, KafkaDriver } from '../driver/driver.js';
import { ConnectionClosedError, TopicMissingError, WrongCallOrderError } from '../errors/errors.js';
import type { Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import { clientMessages } from './client.messages.js';
import { producerOptions, provisions, replyConsumerOptions, type ClientOptions } from './client.options.js';
import { ReplyConsumer } from './reply-consumer.js';
import { ReplyPartitionAssigner } from './reply-partition-assigner.js';
import type { ReplyRegistry } from './reply-registry.js';

export interface ClientConnectionSettings {
  readonly options: ClientOptions;
  readonly groupId: string;
  /** Empty: the consumer never joins its group. */
  readonly replyTopics: readonly string[];
  readonly producerOnlyMode: boolean;
  readonly clock: Clock;
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
    const producer = driver.createProducer(producerOptions(options));
    producer.onStatus((status) => settings.onStatus(status));
    const consumer = producerOnlyMode
      ? undefined
      : driver.createConsumer({
          ...replyConsumerOptions(options),
          groupId,
          topics: replyTopics,
          fromBeginning: false,
          assigners: [new ReplyPartitionAssigner(settings.clock)],
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
        if (provisions(options)) await provision(driver, replyTopics);
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
        this.settings.log.warn(`The client did not close cleanly: ${describe(error)}`);
      }
    }
  }

  private expectOpen(): void {
    if (this.closing) throw new ConnectionClosedError(clientMessages.closedWhileConnecting());
  }
}

/** Asks first: an existing topic needs no right to create topics. */
async function provision(driver: KafkaDriver, topics: readonly string[]): Promise<void> {
  await withAdmin(driver, async (admin) => {
    const existing = new Set((await admin.describeTopics(topics)).map(({ topic }) => topic));
    const missing = topics.filter((topic) => !existing.has(topic));
    if (missing.length > 0) await admin.createTopics(missing.map((topic) => ({ topic })));
  });
}

function countPartitions(driver: KafkaDriver, topic: string): Promise<number> {
  return withAdmin(driver, async (admin) => {
    const [description] = await admin.describeTopics([topic]);
    if (!description) throw new TopicMissingError(`The reply topic "${topic}" does not exist`);
    return description.partitions.length;
  });
}

async function withAdmin<T>(
  driver: KafkaDriver,
  use: (admin: ReturnType<KafkaDriver['createAdmin']>) => Promise<T>,
): Promise<T> {
  const admin = driver.createAdmin();
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
