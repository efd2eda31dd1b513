import kafkajs, { type Kafka, type Producer, type ProducerConfig, type RetryOptions } from 'kafkajs';
import { ProduceError } from '../../errors/errors.js';
import type { OutgoingRecord, RecordMetadata } from '../../messages/record.js';
import type { Clock } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type { DriverProducer, DriverProducerOptions } from '../driver.js';
import { BatchSender, type Entry } from './batch-sender.js';
import type { Connections } from './connections.js';
import { unreachable } from './errors.js';
import { createPartitionChooser, type PartitionChooser } from './partition-chooser.js';
import { createProducerFacade, type ProducerFacade } from './producer-facade.js';
import { sizeOf } from './record-batch-encoder.js';
import { TopicDirectory } from './topic-directory.js';

type Status = 'connected' | 'disconnected';

/**
 * Chooses partitions and counts what is under way; `BatchSender` does the sending.
 *
 * Idempotent unless the user says `idempotent: false` or asks for fewer acknowledgements: a batch that was repeated
 * after a lost answer is stored once. It costs one request at `connect` and nothing measurable afterwards.
 */
export class KafkajsProducer implements DriverProducer {
  private readonly choose: PartitionChooser;
  private readonly directory: TopicDirectory;
  private readonly sender: BatchSender;
  private readonly facade: ProducerFacade;
  private readonly listeners: ((status: Status) => void)[] = [];
  private unsettled = 0;
  private drained: (() => void) | undefined;
  private state: 'idle' | 'open' | 'closing' = 'idle';
  private connecting: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private status: Status = 'disconnected';

  constructor(
    options: DriverProducerOptions,
    config: ProducerConfig,
    retry: RetryOptions,
    private readonly connections: Connections,
    kafka: Kafka,
    clock: Clock,
    log: Log,
  ) {
    const acks = options.acks ?? -1;
    this.choose = createPartitionChooser(config.createPartitioner);
    this.directory = new TopicDirectory(
      connections,
      config.metadataMaxAge ?? 300_000,
      config.allowAutoTopicCreation === true,
      clock,
    );
    this.sender = new BatchSender(
      connections,
      this.directory,
      {
        acks,
        timeout: options.timeout ?? 30_000,
        compression: options.compression ?? 0,
        idempotent: acks === -1 && config.idempotent !== false,
        maxInFlightRequests: config.maxInFlightRequests,
        retry,
      },
      (status) => this.report(status),
      clock,
      log,
    );
    const createPartitioner = config.createPartitioner ?? kafkajs.Partitioners.DefaultPartitioner;
    this.facade = createProducerFacade(kafka.producer({ ...config, createPartitioner }));
  }

  /** kafkajs' own producer, on connections of its own, which it opens when it is first used. */
  get native(): Producer {
    return this.facade.producer;
  }

  onStatus(listener: (status: Status) => void): void {
    this.listeners.push(listener);
  }

  connect(): Promise<void> {
    if (this.state === 'open') return Promise.resolve();
    this.connecting ??= this.open().finally(() => {
      this.connecting = undefined;
    });
    return this.connecting;
  }

  send(record: OutgoingRecord): Promise<RecordMetadata> {
    const { topic, partition } = record;
    if (this.state !== 'open') {
      return Promise.reject(
        new ProduceError(`A record for "${topic}" was not sent: the producer is not connected`),
      );
    }
    return new Promise((resolve, reject) => {
      this.unsettled++;
      const entry: Entry = {
        record,
        size: sizeOf(record),
        resolve: (metadata) => {
          resolve(metadata);
          this.settled();
        },
        reject: (error) => {
          reject(error);
          this.settled();
        },
      };
      this.directory.resolve(topic, partition, {
        found: (partitions) => this.sender.enqueue(entry, this.choose(record, partitions)),
        failed: entry.reject,
      });
    });
  }

  sendAll(records: readonly OutgoingRecord[]): Promise<RecordMetadata[]> {
    return Promise.all(records.map((record) => this.send(record)));
  }

  disconnect(): Promise<void> {
    this.closing ??= this.close().finally(() => {
      this.closing = undefined;
    });
    return this.closing;
  }

  private async open(): Promise<void> {
    await this.closing;
    try {
      await this.connections.connect();
      await this.connections.metadata([]);
      await this.sender.prepare();
    } catch (error) {
      await this.connections.disconnect();
      throw unreachable(error);
    }
    this.state = 'open';
    this.report('connected');
  }

  private async close(): Promise<void> {
    if (this.connecting) {
      // Nobody waits for the retries of an attempt that is not wanted any more.
      await this.connections.disconnect();
      await this.connecting.catch(() => undefined);
    }
    if (this.state === 'open') {
      this.state = 'closing';
      this.sender.close();
      if (this.unsettled > 0) await new Promise<void>((resolve) => (this.drained = resolve));
      this.state = 'idle';
    }
    await this.facade.close();
    await this.connections.disconnect();
    this.directory.clear();
    this.sender.clear();
    this.report('disconnected');
  }

  private settled(): void {
    if (--this.unsettled === 0) this.drained?.();
  }

  private report(status: Status): void {
    if (status === this.status) return;
    this.status = status;
    for (const listener of this.listeners) listener(status);
  }
}
