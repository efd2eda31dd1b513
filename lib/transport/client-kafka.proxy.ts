import { Logger } from '@nestjs/common';
import { ClientProxy, type ClientKafka, type ReadPacket, type WritePacket } from '@nestjs/microservices';
import { connectable, defer, mergeMap, Subject, throwError, type Observable } from 'rxjs';
import type { KafkaDriver } from '../driver/driver.js';
import {
  ConnectionClosedError,
  InvalidOptionError,
  InvalidPatternError,
  InvalidRecordError,
  ReplyPartitionMissingError,
  ReplyTimeoutError,
  UnsupportedError,
  WrongCallOrderError,
} from '../errors/errors.js';
import { encodeMessage, type RecordParts } from '../messages/encoder.js';
import { MESSAGE_ID_HEADER } from '../messages/idempotency-key.js';
import {
  CORRELATION_ID_HEADER,
  REPLY_PARTITION_HEADER,
  REPLY_TOPIC_HEADER,
  REQUEST_HEADERS,
} from '../messages/nest-headers.js';
import { deserializeReply, serializeMessage } from '../messages/packets.js';
import { parseRecord } from '../messages/parser.js';
import { readPositions } from '../messages/positions.js';
import {
  partitionName,
  type OutgoingRecord,
  type RecordHeader,
  type RecordMetadata,
} from '../messages/record.js';
import { isTopicName } from '../messages/topic-name.js';
import { ClientConnection } from './client-connection.js';
import { clientMessages } from './client.messages.js';
import { createDefaultDriver } from './default-driver.js';
import { emittedRecords, type EmittedRecords } from './emitted-records.js';
import type { KafkaTransportOptions } from './kafka-transport.options.js';
import { waitsInThisProcess } from './local-servers.js';
import { ReplyRegistry, type UnclaimedReplies } from './reply-registry.js';
import { resolveOptions, type ResolvedOptions } from './resolve-options.js';

type NativeConsumer = ClientKafka['consumer'];
type NativeProducer = ClientKafka['producer'];
type CommittedOffsets = Parameters<ClientKafka['commitOffsets']>[0];

const DEFAULT_SERIALIZER = { serialize: encodeMessage };
/** Stands for `deserializeReply`'s own reading, which needs the raw record. */
const DEFAULT_DESERIALIZER = { deserialize: (value: unknown): never => value as never };

/**
 * Nest's Kafka client: `emit()` for events, `send()` for requests. The methods of the built-in one, the same headers and
 * topics; see `KafkaTransportOptions` for what can be set. `run` and `subscribe`
 * may be there, so that client and server can share one object, but have nothing to act on: the reply consumer runs no
 * handlers, commits nothing and never reads old replies. Its records carry a fresh `message-id` each.
 *
 * Naming can be changed by a subclass: ids in the constructor, reply topics in `getResponsePatternName`.
 */
export class ClientKafkaProxy extends ClientProxy<Record<never, Function>, string> {
  protected readonly logger = new Logger(ClientKafkaProxy.name);
  /** Read at each connect. */
  protected brokers: ResolvedOptions['brokers'];
  /** Read at each connect: `client.clientId` with the postfix. */
  protected clientId: string;
  /** Read at each connect: `consumer.groupId` with the postfix. */
  protected groupId: string;
  protected producerOnlyMode: boolean;
  /** Reply topics to subscribe to at the next connect. */
  protected readonly responsePatterns: string[] = [];
  private readonly resolved: ResolvedOptions;
  private readonly registry: ReplyRegistry;
  private connection: ClientConnection | undefined;
  private closing: Promise<void> | undefined;

  /** @throws InvalidOptionError */
  constructor(protected readonly options: KafkaTransportOptions = {}) {
    super();
    const resolved = (this.resolved = resolveOptions(options, 'client'));
    if (resolved.given.consumer?.partitionAssigners !== undefined) {
      throw new InvalidOptionError('consumer.partitionAssigners', clientMessages.ownsAssigner());
    }
    this.brokers = resolved.brokers;
    this.clientId = resolved.clientId;
    this.groupId = resolved.groupId;
    this.producerOnlyMode = resolved.given.producerOnlyMode ?? false;
    this.initializeSerializer(options);
    this.initializeDeserializer(options);
    this.registry = new ReplyRegistry(resolved.clock, this.logger, resolved.requestTimeout, (record) => {
      const deserializer = this.deserializer === DEFAULT_DESERIALIZER ? undefined : this.deserializer;
      return deserializeReply(record, parseRecord(record, resolved), deserializer);
    });
  }

  /**
   * The driver's own consumer: the member of the group, which reads nothing itself.
   * @throws WrongCallOrderError before `connect()`, in `producerOnlyMode`, and with `replyPartition: 'shared'`.
   */
  get consumer(): NativeConsumer {
    const consumer = this.connection?.opened.consumer;
    if (consumer) return consumer.native as NativeConsumer;
    throw new WrongCallOrderError(this.noConsumer());
  }

  /** The driver's own producer. @throws WrongCallOrderError before `connect()`. */
  get producer(): NativeProducer {
    const producer = this.connection?.opened.producer;
    if (producer) return producer.native as NativeProducer;
    throw new WrongCallOrderError(clientMessages.noProducer());
  }

  /** Requests waiting for a reply. */
  get pendingRequests(): number {
    return this.registry.size;
  }

  /** Replies that no request was waiting for. */
  get unclaimedReplies(): Readonly<UnclaimedReplies> {
    return { ...this.registry.unclaimed };
  }

  /**
   * Has the reply topic of `pattern` subscribed to by the next `connect()`. Each topic that `send()` is used with needs
   * it, before the client connects.
   * @throws InvalidPatternError for anything but a topic's name.
   */
  subscribeToResponseOf(pattern: unknown): void {
    const replyTopic = this.getResponsePatternName(this.topicOf(pattern));
    if (this.responsePatterns.includes(replyTopic)) return;
    this.responsePatterns.push(replyTopic);
    if (this.connection) this.logger.warn(clientMessages.subscribedLate(replyTopic));
  }

  /** Calls share one attempt; one that failed is not remembered. Returns the driver's own producer. */
  override async connect(): Promise<NativeProducer> {
    const connection = (this.connection ??= this.createConnection());
    try {
      return (await connection.open()).producer.native as NativeProducer;
    } catch (error) {
      if (this.connection === connection) this.connection = undefined;
      throw error;
    }
  }

  /** Rejects what waits for a reply, leaves the group and disconnects. `connect()` works again afterwards. */
  override async close(): Promise<void> {
    const { connection } = this;
    this.connection = undefined;
    this.registry.failAll((topic) => new ConnectionClosedError(clientMessages.closedWhileWaiting(topic)));
    if (connection) this.closing = connection.close();
    await this.closing;
  }

  /** As `emit()` for many messages of one topic at once. Nothing is produced for an empty list. */
  emitBatch<TResult = EmittedRecords[], TInput = unknown>(
    pattern: unknown,
    data: { messages: TInput[] },
  ): Observable<TResult> {
    if (pattern == null || !Array.isArray(data?.messages)) {
      return throwError(() => new InvalidRecordError('emitBatch() takes a topic and { messages: [...] }'));
    }
    const source = defer(() => this.connect()).pipe(
      mergeMap(() => this.dispatchBatchEvent({ pattern, data }) as Promise<TResult>),
    );
    const batch = connectable(source, { connector: () => new Subject(), resetOnDisconnect: false });
    batch.connect();
    return batch;
  }

  /** Stores offsets of reply topics for the group. The client itself never does. */
  async commitOffsets(topicPartitions: CommittedOffsets): Promise<void> {
    const consumer = this.connection?.opened.consumer;
    if (!consumer) throw new WrongCallOrderError(this.noConsumer());
    await consumer.commit(readPositions(topicPartitions, 'commitOffsets()'));
  }

  /** Per reply topic, the partition that replies are sent to at the moment. */
  getConsumerAssignments(): Record<string, number> {
    return this.connection?.isOpen ? { ...this.connection.opened.replies?.partitions } : {};
  }

  /** The driver's own client object. @throws WrongCallOrderError before `connect()`. */
  override unwrap<T>(): T {
    if (this.connection) return this.connection.opened.driver.native as T;
    throw new WrongCallOrderError(clientMessages.notInitialized());
  }

  /** @throws UnsupportedError always, as in Nest's built-in client. */
  override on(_event: never, _callback: never): never {
    throw new UnsupportedError(clientMessages.eventsUnsupported());
  }

  /** The reply topic of a request topic. To be overridden for other names. */
  protected getResponsePatternName(pattern: string): string {
    return `${pattern}.reply`;
  }

  /** The Kafka client to connect with. */
  protected createDriver(): KafkaDriver | Promise<KafkaDriver> {
    const { given, clock } = this.resolved;
    if (given.driver) return given.driver;
    const config = { ...given.client, brokers: this.brokers, clientId: this.clientId };
    return createDefaultDriver(config, clock, this.logger);
  }

  protected override initializeSerializer(options: KafkaTransportOptions): void {
    this.serializer = options.serializer ?? DEFAULT_SERIALIZER;
  }

  protected override initializeDeserializer(options: KafkaTransportOptions): void {
    this.deserializer = options.deserializer ?? DEFAULT_DESERIALIZER;
  }

  protected async dispatchEvent<T = EmittedRecords[]>(packet: ReadPacket): Promise<T> {
    const topic = this.topicOf(packet.pattern);
    const record = this.outgoing(topic, await this.serialize(packet.data, topic));
    return emittedRecords([await this.connected().producer.send(record)]) as T;
  }

  protected async dispatchBatchEvent(
    packet: ReadPacket<{ messages: unknown[] }>,
  ): Promise<EmittedRecords[] | undefined> {
    if (packet.data.messages.length === 0) return undefined;
    const topic = this.topicOf(packet.pattern);
    const parts = await Promise.all(packet.data.messages.map((message) => this.serialize(message, topic)));
    return emittedRecords(
      await this.connected().producer.sendAll(parts.map((part) => this.outgoing(topic, part))),
    );
  }

  protected override publish(packet: ReadPacket, callback: (packet: WritePacket) => void): () => void {
    const correlationId = this.resolved.clock.uuid();
    try {
      const topic = this.topicOf(packet.pattern);
      const replyTopic = this.getResponsePatternName(topic);
      this.expectSubscribed(topic, replyTopic);
      let sent: RecordMetadata | undefined;
      const timeoutError = (isSent: boolean) =>
        isSent
          ? new ReplyTimeoutError(topic, this.resolved.requestTimeout, this.knownReason(sent))
          : new ReplyPartitionMissingError(
              clientMessages.unassigned(replyTopic, this.resolved.requestTimeout),
            );
      this.registry.add({ correlationId, topic, replyTopic, callback, timeoutError });
      this.request(topic, replyTopic, correlationId, packet.data).then(
        (metadata) => (sent = metadata),
        (error: unknown) => this.registry.fail(correlationId, error),
      );
    } catch (err) {
      callback({ err });
    }
    return () => this.registry.forget(correlationId);
  }

  private async request(
    topic: string,
    replyTopic: string,
    correlationId: string,
    data: unknown,
  ): Promise<RecordMetadata | undefined> {
    const { producer, replies } = this.connected();
    const parts = await this.serialize(data, topic);
    let partition: number | undefined;
    while ((partition = replies!.partitions[replyTopic]) === undefined) {
      await replies!.waitForPartition(replyTopic);
    }
    // Timed out, unsubscribed or closed meanwhile: nobody wants the request to be handled any more. Nothing may come
    // between the look at the partition and this, or it could be given away unnoticed.
    if (!this.registry.sending(correlationId, partition)) return undefined;
    const headers: RecordHeader[] = [
      ...parts.headers.filter(([name]) => !REQUEST_HEADERS.has(name)),
      [CORRELATION_ID_HEADER, Buffer.from(correlationId)],
      [REPLY_TOPIC_HEADER, Buffer.from(replyTopic)],
      [REPLY_PARTITION_HEADER, Buffer.from(String(partition))],
    ];
    return producer.send(this.outgoing(topic, { ...parts, headers }));
  }

  /** Why a request at this place has no reply, if that can be told. */
  private knownReason(sent: RecordMetadata | undefined): string | undefined {
    if (!sent || !waitsInThisProcess({ brokers: this.brokers, given: this.resolved.given }, sent))
      return undefined;
    return clientMessages.waitsHere(`${partitionName(sent)} at ${sent.offset}`);
  }

  private serialize(data: unknown, topic: string): RecordParts | Promise<RecordParts> {
    const serializer = this.serializer === DEFAULT_SERIALIZER ? undefined : this.serializer;
    return serializeMessage(data, serializer, { pattern: topic });
  }

  private outgoing(topic: string, parts: RecordParts): OutgoingRecord {
    if (parts.headers.some(([name]) => name === MESSAGE_ID_HEADER)) return { topic, ...parts };
    return {
      topic,
      ...parts,
      headers: [...parts.headers, [MESSAGE_ID_HEADER, Buffer.from(this.resolved.clock.uuid())]],
    };
  }

  private connected(): ClientConnection['opened'] {
    if (this.connection?.isOpen) return this.connection.opened;
    throw new ConnectionClosedError(clientMessages.closedBeforeSent());
  }

  private createConnection(): ClientConnection {
    const { resolved: options, groupId, producerOnlyMode, logger: log } = this;
    const settings = {
      options,
      groupId,
      producerOnlyMode,
      log,
      replyTopics: [...this.responsePatterns],
      createDriver: () => this.createDriver(),
      onStatus: (status: string) => this._status$.next(status),
    };
    return new ClientConnection(settings, this.registry, this.closing);
  }

  private noConsumer(): string {
    return this.resolved.replyPartition === 'shared' ? clientMessages.noGroup() : clientMessages.noConsumer();
  }

  private topicOf(pattern: unknown): string {
    const topic: unknown = pattern instanceof RegExp ? pattern : this.normalizePattern(pattern as string);
    if (isTopicName(topic)) return topic;
    throw new InvalidPatternError(clientMessages.invalidPattern(describePattern(pattern)));
  }

  private expectSubscribed(topic: string, replyTopic: string): void {
    if (this.producerOnlyMode) throw new WrongCallOrderError(clientMessages.producerOnly(topic));
    if (this.connected().replies?.topics.has(replyTopic)) return;
    throw new WrongCallOrderError(clientMessages.notSubscribed(topic, replyTopic));
  }
}

function describePattern(pattern: unknown): string {
  if (pattern instanceof RegExp) return `The regular expression ${String(pattern)}`;
  return typeof pattern === 'string' ? `"${pattern}"` : `A pattern of type ${typeof pattern}`;
}
