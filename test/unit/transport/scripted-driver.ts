import type {
  AssignedPartition,
  ConsumerListener,
  DriverAdmin,
  DriverConsumer,
  DriverConsumerOptions,
  DriverProducer,
  DriverProducerOptions,
  DriverReader,
  DriverReaderOptions,
  KafkaDriver,
  ReaderListener,
  TopicDescription,
} from '../../../lib/driver/driver.js';
import type {
  OutgoingRecord,
  PartitionOffset,
  RecordHeader,
  RecordMetadata,
  TopicPartition,
} from '../../../lib/messages/record.js';

/** A driver whose broker is the test: it records what is sent and does to the consumer what the test says. */
export class ScriptedDriver implements KafkaDriver {
  readonly name = 'scripted';
  readonly native = { kind: 'client' };
  readonly sent: OutgoingRecord[] = [];
  readonly topics = new Map<string, number>();
  readonly created: string[] = [];
  readonly consumers: ScriptedConsumer[] = [];
  readonly readers: ScriptedReader[] = [];
  readonly log: string[] = [];
  producerOptions: DriverProducerOptions | undefined;
  /** What the next `start` assigns, `topic:partition`. */
  assignment: string[] = [];
  /** Rejects the connect or produce that comes next. */
  failures: { connect?: Error; start?: Error; send?: Error } = {};
  /** Called for each record before it is acknowledged. */
  onSend: (record: OutgoingRecord) => void | Promise<void> = () => undefined;

  createConsumer(options: DriverConsumerOptions): ScriptedConsumer {
    const consumer = new ScriptedConsumer(this, options);
    this.consumers.push(consumer);
    return consumer;
  }

  createReader(options: DriverReaderOptions): ScriptedReader {
    const reader = new ScriptedReader(this, options);
    this.readers.push(reader);
    return reader;
  }

  createProducer(options?: DriverProducerOptions): DriverProducer {
    this.producerOptions = options;
    let onStatus: (status: 'connected' | 'disconnected') => void = () => undefined;
    const send = async (record: OutgoingRecord): Promise<RecordMetadata> => {
      const { send: failure } = this.failures;
      if (failure) throw failure;
      const offset = BigInt(this.sent.push(record) - 1);
      await this.onSend(record);
      return { topic: record.topic, partition: record.partition ?? 0, offset };
    };
    return {
      native: { kind: 'producer' },
      connect: () => {
        this.log.push('producer.connect');
        const { connect: failure } = this.failures;
        if (failure) return Promise.reject(failure);
        onStatus('connected');
        return Promise.resolve();
      },
      disconnect: () => {
        this.log.push('producer.disconnect');
        onStatus('disconnected');
        return Promise.resolve();
      },
      send,
      sendAll: (records) => Promise.all(records.map(send)),
      onStatus: (listener) => (onStatus = listener),
    };
  }

  createAdmin(): DriverAdmin {
    const describe = (names: readonly string[] = [...this.topics.keys()]): TopicDescription[] =>
      names
        .filter((topic) => this.topics.has(topic))
        .map((topic) => ({ topic, topicId: topic, partitions: [...Array(this.topics.get(topic)).keys()] }));
    return {
      connect: () => Promise.resolve(),
      disconnect: () => Promise.resolve(),
      describeTopics: (names?: readonly string[]) => Promise.resolve(describe(names)),
      createTopics: (specifications: readonly { topic: string }[]) => {
        for (const { topic } of specifications) {
          this.topics.set(topic, 1);
          this.created.push(topic);
        }
        return Promise.resolve();
      },
    } as unknown as DriverAdmin;
  }

  get consumer(): ScriptedConsumer {
    return this.consumers.at(-1)!;
  }

  get reader(): ScriptedReader {
    return this.readers.at(-1)!;
  }
}

export class ScriptedConsumer implements DriverConsumer {
  readonly native = { kind: 'consumer' };
  readonly memberId = undefined;
  readonly membership = undefined;
  readonly seeks: PartitionOffset[] = [];
  readonly commits: PartitionOffset[] = [];
  listener!: ConsumerListener;
  isRunning = false;
  private held: AssignedPartition[] = [];
  private rebalances = 0;

  constructor(
    private readonly driver: ScriptedDriver,
    readonly options: DriverConsumerOptions,
  ) {}

  async start(listener: ConsumerListener): Promise<void> {
    this.driver.log.push('consumer.start');
    const { start: failure } = this.driver.failures;
    if (failure) throw failure;
    this.listener = listener;
    this.isRunning = true;
    listener.onStatus('connected');
    await this.assign(...this.driver.assignment);
  }

  async stop(): Promise<void> {
    this.driver.log.push('consumer.stop');
    if (!this.isRunning) return;
    this.isRunning = false;
    await this.revoke();
    this.listener.onStatus('stopped');
  }

  /** `topic:partition` or `topic:partition@startOffset`. */
  async assign(...names: string[]): Promise<void> {
    const rebalanceId = ++this.rebalances;
    this.held = names.map((name) => {
      const [, topic, partition, offset] = /^(.+):(\d+)(?:@(\d+))?$/.exec(name)!;
      const startOffset = BigInt(offset ?? 0);
      return { topic: topic!, topicId: topic!, partition: Number(partition), rebalanceId, startOffset };
    });
    this.options.assigners?.[0]?.assigned?.(this.held);
    await this.listener.onAssigned(this.held);
  }

  async revoke(): Promise<void> {
    this.listener.onStatus('rebalancing');
    await this.listener.onRevoked(this.held, 'revoked');
    this.held = [];
  }

  seek(position: PartitionOffset): void {
    this.seeks.push(position);
  }

  commit(offsets: readonly PartitionOffset[]): Promise<void> {
    this.commits.push(...offsets);
    return Promise.resolve();
  }

  pause(): void {}
  resume(): void {}
  heartbeat(): Promise<void> {
    return Promise.resolve();
  }
  confirmMembership(): Promise<boolean> {
    return Promise.resolve(true);
  }
  endOfEpoch(): Promise<bigint | undefined> {
    return Promise.resolve(undefined);
  }
}

export class ScriptedReader implements DriverReader {
  /** `topic:partition` of what is read. */
  readonly reading = new Set<string>();
  private listener!: ReaderListener;

  constructor(
    private readonly driver: ScriptedDriver,
    readonly options: DriverReaderOptions,
  ) {}

  start(listener: ReaderListener): Promise<void> {
    this.driver.log.push('reader.start');
    this.listener = listener;
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.driver.log.push('reader.stop');
    this.reading.clear();
    return Promise.resolve();
  }

  read({ topic, partition }: TopicPartition): Promise<void> {
    this.reading.add(`${topic}:${partition}`);
    return Promise.resolve();
  }

  drop({ topic, partition }: TopicPartition): void {
    this.reading.delete(`${topic}:${partition}`);
  }

  /** Hands a reply over, as the broker would. */
  receive(topic: string, partition: number, headers: RecordHeader[], value: string | null): void {
    if (!this.reading.has(`${topic}:${partition}`)) throw new Error(`${topic}:${partition} is not read`);
    const place = { topic, partition, offset: 0n };
    const record = {
      ...place,
      timestamp: 0,
      key: null,
      value: value === null ? null : Buffer.from(value),
      headers,
    };
    this.listener.onRecords({ topic, partition, topicId: topic, rebalanceId: 0, startOffset: 0n }, [record]);
  }
}
