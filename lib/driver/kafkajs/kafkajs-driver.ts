import kafkajs, { type ConsumerConfig, type Kafka, type KafkaConfig, type ProducerConfig } from 'kafkajs';
import type { Clock } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type {
  DriverAdmin,
  DriverConsumer,
  DriverConsumerOptions,
  DriverProducer,
  DriverProducerOptions,
  DriverReader,
  DriverReaderOptions,
  DriverReadOptions,
  KafkaDriver,
} from '../driver.js';
import { KafkajsAdmin } from './admin.js';
import {
  fromGroupAssigner,
  fromKafkajsAssigner,
  roundRobinAssigner,
  type ProtocolAssigner,
} from './assigner.js';
import { Connections } from './connections.js';
import { KafkajsConsumer } from './consumer.js';
import { logCreatorFor } from './log-creator.js';
import { KafkajsProducer } from './producer.js';
import { KafkajsReader } from './reader.js';

/**
 * The port over kafkajs. Its connections, TLS, SASL and admin are used as they are; group membership, fetching,
 * decoding and producing are our own: its consumer cannot await a revocation, and its producer drops records.
 */
export class KafkajsDriver implements KafkaDriver {
  readonly name = 'kafkajs';
  /** The `Kafka` instance. */
  readonly native: Kafka;

  /** @param config as the user wrote it; its `logCreator`, if any, gets kafkajs' lines instead of `log` */
  constructor(
    private readonly config: KafkaConfig,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.native = new kafkajs.Kafka({
      logCreator: logCreatorFor(log),
      ...config,
      // kafkajs writes into it what it has made of the credentials; a copy with others would then go on with these.
      ...(config.sasl && { sasl: { ...config.sasl } }),
    });
  }

  createConsumer(options: DriverConsumerOptions): DriverConsumer {
    const native = (options.native ?? {}) as Partial<ConsumerConfig>;
    const connections = this.connect(native.retry);
    return new KafkajsConsumer(
      withNativeGroup(options, native),
      connections,
      this.native,
      this.assigners(options, native, connections),
      this.clock,
      this.log,
    );
  }

  createReader(options: DriverReaderOptions): DriverReader {
    const native = (options.native ?? {}) as Partial<ConsumerConfig>;
    return new KafkajsReader(withNative(options, native), this.connect(native.retry), this.clock, this.log);
  }

  createProducer(options: DriverProducerOptions = {}): DriverProducer {
    const native = (options.native ?? {}) as ProducerConfig;
    const retry = { ...this.config.retry, ...native.retry };
    return new KafkajsProducer(
      options,
      native,
      retry,
      this.connect(retry),
      this.native,
      this.clock,
      this.log,
    );
  }

  createAdmin(): DriverAdmin {
    return new KafkajsAdmin(this.connect(undefined), this.clock);
  }

  private connect(retry: KafkaConfig['retry']): Connections {
    return new Connections(this.native, { ...this.config.retry, ...retry }, this.clock);
  }

  private assigners(
    { groupId, assigners }: DriverConsumerOptions,
    { partitionAssigners }: Partial<ConsumerConfig>,
    { door }: Connections,
  ): ProtocolAssigner[] {
    const chosen = [
      ...(assigners ?? []).map(fromGroupAssigner),
      ...(partitionAssigners ?? []).map((create) =>
        fromKafkajsAssigner(create({ cluster: door.cluster, groupId, logger: door.logger }), door),
      ),
    ];
    return chosen.length > 0 ? chosen : [fromGroupAssigner(roundRobinAssigner)];
  }
}

/** The port's options win; what they leave open comes from the user's own, under kafkajs' names. */
function withNative<T extends DriverReadOptions>(options: T, native: Partial<ConsumerConfig>): T {
  return {
    ...options,
    maxWaitTime: options.maxWaitTime ?? native.maxWaitTimeInMs,
    minBytes: options.minBytes ?? native.minBytes,
    maxBytes: options.maxBytes ?? native.maxBytes,
    maxBytesPerPartition: options.maxBytesPerPartition ?? native.maxBytesPerPartition,
    metadataMaxAge: options.metadataMaxAge ?? native.metadataMaxAge,
    readUncommitted: options.readUncommitted ?? native.readUncommitted,
    rackId: options.rackId ?? native.rackId,
  };
}

function withNativeGroup(
  options: DriverConsumerOptions,
  native: Partial<ConsumerConfig>,
): DriverConsumerOptions {
  return {
    ...withNative(options, native),
    sessionTimeout: options.sessionTimeout ?? native.sessionTimeout,
    rebalanceTimeout: options.rebalanceTimeout ?? native.rebalanceTimeout,
    heartbeatInterval: options.heartbeatInterval ?? native.heartbeatInterval,
  };
}
