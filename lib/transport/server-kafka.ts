import { Logger } from '@nestjs/common';
import {
  Server,
  Transport,
  type CustomTransportStrategy,
  type KafkaStatus,
  type MessageHandler,
  type MsPattern,
} from '@nestjs/microservices';
import type { GateState } from '../consumption/gate.js';
import { RecordConsumer } from '../consumption/record-consumer.js';
import type { Parking } from '../consumption/parking.js';
import type { DriverConsumer, DriverProducer, KafkaDriver } from '../driver/driver.js';
import { ConnectionClosedError, WrongCallOrderError } from '../errors/errors.js';
import { encodeReply } from '../messages/packets.js';
import type { KafkaRecord } from '../messages/record.js';
import type { EncodedReply } from '../messages/reply.js';
import { settlesWithin } from '../runtime/clock.js';
import { isPromise } from '../runtime/is-promise.js';
import { settle } from '../runtime/settle.js';
import { DeadLetters } from './dead-letters.js';
import { createDefaultDriver } from './default-driver.js';
import { driverConsumerOptions, driverProducerOptions } from './driver-options.js';
import { EndingSignal } from './ending-signal.js';
import { classifyFailure, terminalReason } from './failure-classes.js';
import { HandlerCalls } from './handler-calls.js';
import { HandlerRegistry } from './handler-registry.js';
import type { KafkaDeliveryContext } from './kafka-delivery.context.js';
import type { KafkaTransportOptions } from './kafka-transport.options.js';
import type { NestDeliveryHandlerPorts } from './nest-delivery-handler.js';
import { LagReporter } from './lag-reporter.js';
import { noteLocalServer } from './local-servers.js';
import { RecordRouter } from './record-router.js';
import { replyEncoder } from './reply-encoder.js';
import { produceLetter } from './produce-letter.js';
import { ReplyPublisher } from './reply-publisher.js';
import { RetentionCheck } from './retention-check.js';
import { resolveOptions, type ResolvedOptions } from './resolve-options.js';
import { ServerExtensions, type ServerExtension } from './server-extension.js';
import { ServerSeat } from './server-seat.js';
import { expectParking } from './parking-check.js';
import { isStartupProbe, Preflight } from './startup-probe.js';
import { noteThrownErrors } from './thrown-errors.js';
import { provisionTopics } from './topic-provisioner.js';
import { scanTopic } from './topic-scan.js';

export type { GateState };

/** Everything that is open while the server listens. */
interface Connection {
  readonly driver: KafkaDriver;
  readonly producer: DriverProducer;
  readonly consumer: DriverConsumer;
  readonly seat: ServerSeat;
  readonly records: RecordConsumer;
  readonly replies: ReplyPublisher;
  readonly calls: HandlerCalls;
  readonly lag: LagReporter;
  readonly retention: RetentionCheck;
}

/** From `listen` to the end of `close`. A server that listens again takes a new one. */
interface Life {
  /** Settles when starting has succeeded or failed. */
  starting: Promise<void>;
  connection?: Connection;
  closing?: Promise<void>;
  /** What is to be undone at its end besides. */
  forget?: () => void;
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
  private readonly preflight = new Preflight();
  private readonly extensions = new ServerExtensions();
  private life: Life | undefined;
  /** Nest's own, which only goes on. */
  private readonly noHook = this.onProcessingStartHook;

  /** @throws InvalidOptionError */
  constructor(protected readonly options: KafkaTransportOptions = {}) {
    super();
    noteThrownErrors();
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
      this.preflight.probes.push(callback);
      return;
    }
    this.registry.add({ pattern: pattern as string | RegExp, callback, isEvent: isEventHandler });
    this.messageHandlers.set(pattern as string, callback);
  }

  /**
   * Starts; calls back with an error, and nothing left open, if that is not possible or `close` comes in between.
   * Where a signal told the process to end in between, a `close` is answered by no call at all: an error that ends
   * `main()` would cut off the shutdown hooks that are running. Works again after `close`.
   */
  async listen(callback: (error?: unknown) => void): Promise<void> {
    if (this.life && !this.life.closing) {
      return callback(new WrongCallOrderError('ServerKafka is listening already; close() it first'));
    }
    const life: Life = { starting: Promise.resolve() };
    const predecessor = this.life?.closing;
    this.life = life;
    const signal = new EndingSignal();
    life.starting = this.start(life, predecessor);
    try {
      await life.starting;
    } catch (error) {
      // What a close does to a start under way looks like trouble with the broker.
      const wasClosed = life.closing !== undefined;
      await this.end(life);
      if (wasClosed && signal.received) return;
      return callback(wasClosed ? closedWhileStarting() : error);
    } finally {
      signal.forget();
    }
    callback();
  }

  /**
   * Lets handlers finish for at most `shutdownTimeout`, commits, leaves the group, disconnects. Idempotent; tolerates
   * never-started, and ends a start that is under way.
   */
  async close(): Promise<void> {
    if (this.life) await this.end(this.life);
  }

  /** For modules that work on this server's handlers. What they do at a start, they do from the next one on. */
  extend(extension: ServerExtension): void {
    this.extensions.add(extension);
  }

  /** Produces records while the server listens; `undefined` before and after. For modules that have records to send. */
  get outgoing(): Pick<DriverProducer, 'send'> | undefined {
    return this.life?.connection?.producer;
  }

  /**
   * Whether work is held because Postgres or the broker is away: `closed` until it answers again, then `trial` while one
   * record is tried. Nothing is held while the server does not listen.
   */
  get gate(): GateState {
    return this.life?.connection?.records.gate ?? 'open';
  }

  /** Where the server sits in its group, from `listen` to the end of `close`. For modules that watch over the group. */
  get seat(): ServerSeat | undefined {
    return this.registry.patterns.length > 0 ? this.life?.connection?.seat : undefined;
  }

  /**
   * The records that a topic of its cluster holds as of now, see `scanTopic`. For modules that go through topics.
   * @throws WrongCallOrderError unless it listens.
   */
  readTopic(topic: string, signal: AbortSignal): AsyncGenerator<readonly KafkaRecord[]> {
    return scanTopic(this.connected().driver, topic, this.resolved.clock, signal);
  }

  /** Whether it has a handler for the topic, in that group. */
  consumes(group: string, topic: string): boolean {
    return group === this.groupId && this.registry.of(topic).length > 0;
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

  private async start(life: Life, predecessor: Promise<void> | undefined): Promise<void> {
    await predecessor;
    const parking = this.extensions.createParking(this.resolved.engine.parking);
    expectParking(this.resolved.engine, parking, this.registry);
    await this.preflight.run(this.resolved, this.extensions.beforeStart, this.logger);
    expectOpen(life);
    const { driver, producer, records } = (life.connection = this.connect(parking));
    const { registry, resolved } = this;
    producer.onStatus((status) => this._status$.next(status as KafkaStatus));
    await producer.connect();
    expectOpen(life);
    if (resolved.provision) {
      const named = registry.patterns.filter((pattern) => typeof pattern === 'string');
      await provisionTopics(driver, [...named, ...registry.requestTopics.map((topic) => `${topic}.reply`)]);
      expectOpen(life);
    }
    life.forget = noteLocalServer(resolved, records);
    if (registry.patterns.length > 0) await records.start();
    expectOpen(life);
    life.connection.lag.start();
    life.connection.retention.start();
  }

  /** Calls share one ending: whoever closes second must not go on before the first has finished. */
  private end(life: Life): Promise<void> {
    return (life.closing ??= this.release(life));
  }

  private async release(life: Life): Promise<void> {
    const { connection, starting } = life;
    life.forget?.();
    if (connection) {
      const { records, replies, producer, lag, retention } = connection;
      const settled = [
        await settle(retention.stop()),
        await settle(lag.stop()),
        await settle(records.stop()),
      ];
      replies.close();
      settled.push(await settle(producer.disconnect()));
      for (const error of settled) if (error) this.logger.error(error);
    }
    await settle(starting);
  }

  /** Puts the parts together; nothing is opened yet. */
  private connect(parking: Parking | undefined): Connection {
    const { resolved, groupId } = this;
    const driver = resolved.given.driver ?? this.createDriver();
    const producer = driver.createProducer(driverProducerOptions(resolved));
    const consumer = driver.createConsumer({
      ...driverConsumerOptions(resolved),
      groupId,
      topics: this.registry.patterns,
      fromBeginning: resolved.fromBeginning,
    });
    const replies = new ReplyPublisher(producer, resolved.clock, this.logger, (error) =>
      records.suspectBroker(error),
    );
    const calls = new HandlerCalls(resolved, consumer, producer, () => records, this.logger);
    const records = this.createRecordConsumer(consumer, producer, replies, calls, parking);
    const seat = new ServerSeat(groupId, consumer, driver);
    const lag = new LagReporter(groupId, driver, records, resolved.clock, this.logger);
    const { memory } = this.extensions;
    const named = () => this.registry.namedAmong(records.positions.map(({ topic }) => topic));
    const retention = new RetentionCheck(driver, memory, named, resolved.clock, this.logger);
    return { driver, producer, consumer, seat, records, replies, calls, lag, retention };
  }

  /** The Kafka client to listen with. */
  protected createDriver(): KafkaDriver {
    const { brokers, clock, given } = this.resolved;
    return createDefaultDriver({ ...given.client, clientId: this.clientId, brokers }, clock, this.logger);
  }

  private createRecordConsumer(
    consumer: DriverConsumer,
    producer: DriverProducer,
    replies: ReplyPublisher,
    calls: HandlerCalls,
    parking: Parking | undefined,
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
        parking,
        enlistLate: this.extensions.enlistLate,
        groupId,
        beforeReading: this.extensions.beforeReading,
        followLostEnd: this.extensions.followLostEnd,
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
      parser: { keepBinary: resolved.keepBinary },
      encode: replyEncoder(resolved.given.serializer),
      hasHooks: () => this.onProcessingStartHook !== this.noHook || this.onProcessingEndHook !== undefined,
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

  private connected(): Connection {
    if (this.life?.connection && !this.life.closing) return this.life.connection;
    throw new WrongCallOrderError(
      'Not listening. Call listen() or startAllMicroservices() before unwrapping the server',
    );
  }
}

function expectOpen({ closing }: Life): void {
  if (closing) throw closedWhileStarting();
}

function closedWhileStarting(): ConnectionClosedError {
  return new ConnectionClosedError('The server was closed while it was starting');
}
