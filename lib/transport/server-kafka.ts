import { Logger } from '@nestjs/common';
import {
  Server,
  Transport,
  type CustomTransportStrategy,
  type KafkaStatus,
  type MessageHandler,
  type MsPattern,
} from '@nestjs/microservices';
import { isObservable, lastValueFrom } from 'rxjs';
import type { Attempt, Delivery, Route } from '../consumption/attempt.js';
import { deadLetterRecord } from '../consumption/dead-letter.js';
import type { AfterCommit, Ending } from '../consumption/group.js';
import { RecordConsumer } from '../consumption/record-consumer.js';
import type { DriverConsumer, DriverProducer, DriverProducerOptions, KafkaDriver } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import { WrongCallOrderError } from '../errors/errors.js';
import { deserializeRequest, encodeReply } from '../messages/packets.js';
import { parseRecord } from '../messages/parser.js';
import type { KafkaRecord, OutgoingRecord } from '../messages/record.js';
import type { EncodedReply } from '../messages/reply.js';
import { sleep } from '../runtime/clock.js';
import { createDefaultDriver } from './default-driver.js';
import { classifyFailure, terminalReason } from './failure-classes.js';
import { HandlerRegistry } from './handler-registry.js';
import { KafkaDeliveryContext } from './kafka-delivery.context.js';
import { KafkaTerminalException } from './kafka-terminal.exception.js';
import type { KafkaTransportOptions } from './kafka-transport.options.js';
import {
  NestDeliveryHandler,
  type HandlerCall,
  type NestDeliveryHandlerPorts,
} from './nest-delivery-handler.js';
import { replyEncoder } from './reply-encoder.js';
import { replyAddress, ReplyPublisher } from './reply-publisher.js';
import { resolveOptions, type ResolvedOptions } from './resolve-options.js';
import { isStartupProbe, type StartupProbeCall } from './startup-probe.js';
import { provisionTopics } from './topic-provisioner.js';

type ContextArgs = ConstructorParameters<typeof KafkaDeliveryContext>[0];

/** Everything that is open while the server listens. */
interface Connection {
  readonly driver: KafkaDriver;
  readonly producer: DriverProducer;
  readonly consumer: DriverConsumer;
  readonly records: RecordConsumer;
  readonly replies: ReplyPublisher;
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
  private readonly routes = new Map<MessageHandler, NestDeliveryHandler>();
  private readonly probes: MessageHandler[] = [];
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
    if (!connection) return;
    this.connection = undefined;
    const settled = [await settle(connection.records.stop())];
    connection.replies.close();
    settled.push(await settle(connection.producer.disconnect()));
    for (const error of settled) if (error) this.logger.error(error);
  }

  /** The driver's own client, consumer and producer. */
  unwrap<T = [unknown, unknown, unknown]>(): T {
    const { driver, consumer, producer } = this.connected();
    return [driver.native, consumer.native, producer.native] as T;
  }

  /** As in Nest's Kafka strategy: use `status`. */
  on(): never {
    throw new WrongCallOrderError(
      'ServerKafka has no events of its own. Subscribe to "status", or use unwrap()',
    );
  }

  private async start(): Promise<void> {
    if (this.connection) throw new WrongCallOrderError('ServerKafka is listening already; close() it first');
    const { resolved, registry } = this;
    this.routes.clear();
    await this.runProbes();
    const driver = resolved.given.driver ?? this.createDriver();
    const producer = driver.createProducer(producerOptions(resolved));
    const consumer = driver.createConsumer({
      groupId: resolved.groupId,
      topics: registry.patterns,
      fromBeginning: resolved.fromBeginning,
      sessionTimeout: resolved.sessionTimeout,
      rebalanceTimeout: resolved.rebalanceTimeout,
      heartbeatInterval: resolved.heartbeatInterval,
      maxWaitTime: resolved.given.consumer?.maxWaitTimeInMs,
      minBytes: resolved.given.consumer?.minBytes,
      maxBytes: resolved.given.consumer?.maxBytes,
      maxBytesPerPartition: resolved.given.consumer?.maxBytesPerPartition,
      metadataMaxAge: resolved.given.consumer?.metadataMaxAge,
      readUncommitted: resolved.given.consumer?.readUncommitted,
      rackId: resolved.given.consumer?.rackId,
      native: resolved.given.consumer,
    });
    const replies = new ReplyPublisher(producer, resolved.clock, this.logger);
    const records = this.createRecordConsumer(consumer, producer, replies);
    this.connection = { driver, producer, consumer, records, replies };
    producer.onStatus((status) => this._status$.next(status as KafkaStatus));
    await producer.connect();
    if (resolved.provision) {
      const named = registry.patterns.filter((pattern) => typeof pattern === 'string');
      await provisionTopics(driver, [...named, ...registry.requestTopics.map((topic) => `${topic}.reply`)]);
    }
    if (registry.patterns.length > 0) await records.start();
  }

  /** The Kafka client to listen with. */
  protected createDriver(): KafkaDriver {
    const { clientId, resolved, logger } = this;
    const { brokers, clock, given } = resolved;
    return createDefaultDriver({ ...given.client, clientId, brokers }, clock, logger);
  }

  private createRecordConsumer(consumer: DriverConsumer, producer: DriverProducer, replies: ReplyPublisher) {
    const { resolved } = this;
    const ports = this.handlerPorts(consumer, producer);
    return new RecordConsumer(
      consumer,
      {
        options: resolved.engine,
        clock: resolved.clock,
        log: this.logger,
        publish: replies.publish,
        produce: (record) => producer.send(record),
        route: (record) => this.route(record, ports),
        classify: classifyFailure,
        reasonOf: terminalReason,
        errorReply: (error) => encodeReply({ err: error, isDisposed: true }) as EncodedReply,
        groupId: resolved.groupId,
        deadLetter: (delivery, ending, key) => this.deadLetter(delivery, ending, key),
        hasDeadLetterTopic: resolved.deadLetterTopic !== undefined,
        concludeWithoutResource: (attempt, ending) => this.publishDeadLetter(producer, attempt, ending),
      },
      { onStatus: (status) => this._status$.next(status as KafkaStatus) },
    );
  }

  private handlerPorts(consumer: DriverConsumer, producer: DriverProducer): NestDeliveryHandlerPorts {
    const { serializer, deserializer } = this.resolved.given;
    const { keepBinary, clock, streamOffsetTimeout } = this.resolved;
    const heartbeat = () => consumer.heartbeat();
    return {
      open: (attempt): HandlerCall | Promise<HandlerCall> => {
        const { record } = attempt.delivery;
        const message = parseRecord(record, { keepBinary });
        const args = [message, record.partition, record.topic, consumer.native, heartbeat, producer.native];
        const context = new KafkaDeliveryContext(args as unknown as ContextArgs, attempt);
        const packet = deserializeRequest(message, deserializer);
        if (packet instanceof Promise) return packet.then(({ data }) => ({ data, context }));
        return { data: packet.data, context };
      },
      encode: replyEncoder(serializer),
      hooked: (context, run) => this.hooked(context, run),
      withinStreamTimeout: async (ended) => {
        const bound = new AbortController();
        const first = await Promise.race([
          ended.then(() => true),
          sleep(clock, streamOffsetTimeout, bound.signal).then(() => false),
        ]);
        bound.abort();
        return first;
      },
      onStreamTimeout: (name) =>
        this.logger.warn(
          `${name}: a reply stream has not ended within streamOffsetTimeout (${streamOffsetTimeout} ms); the offset of ` +
            'its request is let go, a crash from now on ends the stream',
        ),
    };
  }

  private route(record: KafkaRecord, ports: NestDeliveryHandlerPorts): readonly Route[] {
    const isRequest = replyAddress(record) !== undefined;
    const handlers = this.registry.of(record.topic);
    if (handlers.length === 0) return [this.unhandled(record.topic, isRequest, ports)];
    return handlers.map(({ callback, pattern, isEvent }): Route => {
      let handler = this.routes.get(callback);
      if (!handler)
        this.routes.set(callback, (handler = new NestDeliveryHandler(String(pattern), callback, ports)));
      return { handler, kind: isRequest && !isEvent ? 'request' : 'event' };
    });
  }

  private unhandled(topic: string, isRequest: boolean, ports: NestDeliveryHandlerPorts): Route {
    const refuse = () => {
      const message = `There is no matching handler for the topic "${topic}"`;
      throw new KafkaTerminalException(message, 'no-handler');
    };
    return { handler: new NestDeliveryHandler(topic, refuse, ports), kind: isRequest ? 'request' : 'event' };
  }

  private async publishDeadLetter(
    producer: DriverProducer,
    { delivery }: Attempt,
    ending: Ending,
  ): Promise<AfterCommit | undefined> {
    const letter = ending.state === 'dead' ? this.deadLetter(delivery, ending, undefined) : undefined;
    if (letter) await producer.send(letter);
    return undefined;
  }

  private deadLetter(
    delivery: Delivery,
    ending: Ending,
    key: string | undefined,
  ): OutgoingRecord | undefined {
    const { deadLetterTopic, groupId, clock } = this.resolved;
    if (!deadLetterTopic) return undefined;
    return deadLetterRecord(deadLetterTopic(delivery.record), delivery, ending, {
      group: groupId,
      key,
      now: clock.now(),
    });
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
      if (started instanceof Promise) started.catch(reject);
    });
  }

  private async runProbes(): Promise<void> {
    const { engine, insistsOnAutoCommit } = this.resolved;
    const { concurrency, commitOffsets } = engine;
    for (const probe of this.probes) {
      const call: StartupProbeCall = { concurrency, insistsOnAutoCommit, manualCommit: !commitOffsets };
      try {
        const result: unknown = await probe(call);
        if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined });
      } catch (error) {
        // A guard in the probe's way says nothing about what the probe looks for: only a refusal counts.
        this.logger.debug(`A start-up probe did not answer: ${describeError(error)}`);
      }
      if (call.refusal) throw call.refusal;
    }
  }

  private connected(): Connection {
    if (this.connection) return this.connection;
    throw new WrongCallOrderError(
      'Not listening. Call listen() or startAllMicroservices() before unwrapping the server',
    );
  }
}

function producerOptions({ given }: ResolvedOptions): DriverProducerOptions {
  const { acks, timeout, compression } = given.send ?? {};
  return { acks: acks as DriverProducerOptions['acks'], timeout, compression, native: given.producer };
}

async function settle(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}
