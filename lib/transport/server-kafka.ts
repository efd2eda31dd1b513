import { Logger } from '@nestjs/common';
import {
  Server,
  Transport,
  type CustomTransportStrategy,
  type KafkaStatus,
  type MessageHandler,
  type MsPattern,
} from '@nestjs/microservices';
import { RecordConsumer } from '../consumption/record-consumer.js';
import type { DriverConsumer, DriverProducer, KafkaDriver } from '../driver/driver.js';
import { WrongCallOrderError } from '../errors/errors.js';
import { encodeReply } from '../messages/packets.js';
import type { EncodedReply } from '../messages/reply.js';
import { settlesWithin } from '../runtime/clock.js';
import { isPromise } from '../runtime/is-promise.js';
import { DeadLetters } from './dead-letters.js';
import { createDefaultDriver } from './default-driver.js';
import { driverConsumerOptions, driverProducerOptions } from './driver-options.js';
import { classifyFailure, terminalReason } from './failure-classes.js';
import { HandlerCalls } from './handler-calls.js';
import { HandlerRegistry } from './handler-registry.js';
import type { KafkaDeliveryContext } from './kafka-delivery.context.js';
import type { KafkaTransportOptions } from './kafka-transport.options.js';
import type { NestDeliveryHandlerPorts } from './nest-delivery-handler.js';
import { RecordRouter } from './record-router.js';
import { replyEncoder } from './reply-encoder.js';
import { produceLetter } from './produce-letter.js';
import { ReplyPublisher } from './reply-publisher.js';
import { resolveOptions, type ResolvedOptions } from './resolve-options.js';
import { isStartupProbe, runStartupProbe } from './startup-probe.js';
import { provisionTopics } from './topic-provisioner.js';

/** Everything that is open while the server listens. */
interface Connection {
  readonly driver: KafkaDriver;
  readonly producer: DriverProducer;
  readonly consumer: DriverConsumer;
  readonly records: RecordConsumer;
  readonly replies: ReplyPublisher;
  readonly calls: HandlerCalls;
}

/**
 * The server side of the transport: a Nest microservice strategy. Given to Nest by `kafkaServer(options)`, or built by
 * Nest itself from `Transport.KAFKA` once `nestjs-durable-kafka/register` is imported.
 */
export class ServerKafka
  extends Server<Record<never, Function>, KafkaStatus>
  implements CustomTransportStrategy
{
  override transportId = Transport.KAFKA;
  /** Nest 12 asks: failures of event handlers reach this transport, which reports them. */
  override readonly propagatesEventHandlerErrors = true;

  protected override readonly logger = new Logger(ServerKafka.name);
  protected readonly clientId: string;
  protected readonly groupId: string;
  private readonly resolved: ResolvedOptions;
  private readonly registry = new HandlerRegistry();
  private readonly probes: MessageHandler[] = [];
  private listening = false;
  private connection: Connection | undefined;

  /** @throws InvalidOptionError */
  constructor(protected readonly options: KafkaTransportOptions = {}) {
    super();
    this.resolved = resolveOptions(options, 'server');
    this.clientId = this.resolved.clientId;
    this.groupId = this.resolved.groupId;
  }

  /** Called by Nest for each handler before `listen`. */
  override addHandler(
    pattern: MsPattern | RegExp,
    callback: MessageHandler,
    isEventHandler = false,
    extras: Record<string, unknown> = {},
  ): void {
    callback.isEventHandler = isEventHandler;
    callback.extras = extras;
    if (isStartupProbe(callback)) {
      this.probes.push(callback);
      return;
    }
    this.registry.add({ pattern: pattern as string | RegExp, callback, isEvent: isEventHandler });
    this.messageHandlers.set(pattern as string, callback);
  }

  /** Starts; calls back with an error, and nothing left open, if that is not possible. */
  async listen(callback: (error?: unknown) => void): Promise<void> {
    // Outside the try: whoever listens already is not to be closed for it.
    if (this.listening) {
      return callback(new WrongCallOrderError('ServerKafka is listening already; close() it first'));
    }
    this.listening = true;
    try {
      await this.start();
    } catch (error) {
      await this.close();
      callback(error);
      return;
    }
    callback();
  }

  /**
   * Lets handlers finish for at most `shutdownTimeout`, commits, leaves the group, disconnects. Idempotent; tolerates
   * never-started.
   */
  async close(): Promise<void> {
    const { connection } = this;
    this.listening = false;
    if (!connection) return;
    this.connection = undefined;
    const settled = [await settle(connection.records.stop())];
    connection.replies.close();
    settled.push(await settle(connection.producer.disconnect()));
    for (const error of settled) if (error) this.logger.error(error);
  }

  /** The driver's own client, consumer and producer. */
  unwrap<T = [unknown, unknown, unknown]>(): T {
    const { driver, calls, producer } = this.connected();
    return [driver.native, calls.consumer, producer.native] as T;
  }

  /** As in Nest's Kafka strategy: use `status`. */
  on(): never {
    throw new WrongCallOrderError(
      'ServerKafka has no events of its own. Subscribe to "status", or use unwrap()',
    );
  }

  private async start(): Promise<void> {
    await this.runProbes();
    const { driver, producer, records } = this.connect();
    const { registry, resolved } = this;
    producer.onStatus((status) => this._status$.next(status as KafkaStatus));
    await producer.connect();
    if (resolved.provision) {
      const named = registry.patterns.filter((pattern) => typeof pattern === 'string');
      await provisionTopics(driver, [...named, ...registry.requestTopics.map((topic) => `${topic}.reply`)]);
    }
    if (registry.patterns.length > 0) await records.start();
  }

  /** Puts the parts together; nothing is opened yet, and `close` finds all of them. */
  private connect(): Connection {
    const { resolved, groupId } = this;
    const driver = resolved.given.driver ?? this.createDriver();
    const producer = driver.createProducer(driverProducerOptions(resolved));
    const consumer = driver.createConsumer({
      ...driverConsumerOptions(resolved),
      groupId,
      topics: this.registry.patterns,
      fromBeginning: resolved.fromBeginning,
    });
    const replies = new ReplyPublisher(producer, resolved.clock, this.logger);
    const calls = new HandlerCalls(resolved, consumer, producer, () => records, this.logger);
    const records = this.createRecordConsumer(consumer, producer, replies, calls);
    this.connection = { driver, producer, consumer, records, replies, calls };
    return this.connection;
  }

  /** The Kafka client to listen with. */
  protected createDriver(): KafkaDriver {
    const { clientId, resolved, logger } = this;
    const { brokers, clock, given } = resolved;
    return createDefaultDriver({ ...given.client, clientId, brokers }, clock, logger);
  }

  private createRecordConsumer(
    consumer: DriverConsumer,
    producer: DriverProducer,
    replies: ReplyPublisher,
    calls: HandlerCalls,
  ): RecordConsumer {
    const { resolved, groupId } = this;
    const letters = new DeadLetters(resolved, groupId, producer);
    const router = new RecordRouter(this.registry, this.handlerPorts(calls), calls.patternOf);
    return new RecordConsumer(
      consumer,
      {
        options: resolved.engine,
        clock: resolved.clock,
        log: this.logger,
        groupId,
        route: router.route,
        publish: replies.publish,
        produce: (record) => produceLetter(producer, record),
        classify: classifyFailure,
        reasonOf: terminalReason,
        errorReply: (error) => encodeReply({ err: error, isDisposed: true }) as EncodedReply,
        hasDeadLetterTopic: letters.isOn,
        deadLetter: letters.recordOf,
        concludeWithoutResource: letters.publish,
      },
      { onStatus: (status) => this._status$.next(status as KafkaStatus) },
    );
  }

  private handlerPorts({ open }: HandlerCalls): NestDeliveryHandlerPorts {
    const { resolved } = this;
    const { streamOffsetTimeout } = resolved;
    return {
      open,
      encode: replyEncoder(resolved.given.serializer),
      hooked: (context, run) => this.hooked(context, run),
      withinStreamTimeout: (ended) => settlesWithin(resolved.clock, ended, streamOffsetTimeout),
      onStreamTimeout: (name) =>
        this.logger.warn(
          `${name}: a reply stream has not ended within streamOffsetTimeout (${streamOffsetTimeout} ms); the offset of ` +
            'its request is let go, a crash from now on ends the stream',
        ),
    };
  }

  /** Runs between Nest's processing hooks (tracing libraries set them). */
  private hooked<T>(context: KafkaDeliveryContext, run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const started = this.onProcessingStartHook(this.transportId, context, async () => {
        try {
          resolve(await run());
        } finally {
          this.onProcessingEndHook?.(this.transportId, context);
        }
      }) as unknown;
      if (isPromise(started)) started.then(undefined, reject);
    });
  }

  private async runProbes(): Promise<void> {
    const { engine, insistsOnAutoCommit } = this.resolved;
    const { concurrency, commitOffsets } = engine;
    for (const probe of this.probes) {
      await runStartupProbe(
        probe,
        { concurrency, insistsOnAutoCommit, manualCommit: !commitOffsets },
        this.logger,
      );
    }
  }

  private connected(): Connection {
    if (this.connection) return this.connection;
    throw new WrongCallOrderError(
      'Not listening. Call listen() or startAllMicroservices() before unwrapping the server',
    );
  }
}

async function settle(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}
