import type { Attempt } from '../consumption/attempt.js';
import type { RecordConsumer } from '../consumption/record-consumer.js';
import type { DriverConsumer, DriverProducer } from '../driver/driver.js';
import { deserializeRequest, type MessageDeserializer, type RequestPacket } from '../messages/packets.js';
import { parseRecord, type ParsedMessage } from '../messages/parser.js';
import type { KafkaRecord } from '../messages/record.js';
import { isPromise } from '../runtime/is-promise.js';
import type { Log } from '../runtime/log.js';
import { KafkaDeliveryContext, type DeliveryHost } from './kafka-delivery.context.js';
import { lentConsumer, withMethods } from './lent-consumer.js';
import type { HandlerCall } from './nest-delivery-handler.js';
import type { PatternReader } from './record-router.js';
import type { ResolvedOptions } from './resolve-options.js';

type ContextArgs = ConstructorParameters<typeof KafkaDeliveryContext>[0];

interface OpenedRecord {
  readonly message: ParsedMessage;
  readonly packet: RequestPacket | Promise<RequestPacket>;
}

/** Makes what a handler is called with: the parsed record's data, and a context of its own for each attempt. */
export class HandlerCalls implements DeliveryHost {
  /** The consumer as users get it. */
  readonly consumer: object;
  readonly durableConsumer: object;
  /** What the user's deserializer says a record is for; `undefined` without one: its topic says it then. */
  readonly patternOf: PatternReader | undefined;
  /** Opened in order to be routed; the first attempt takes it, so that the deserializer is not asked twice. */
  private readonly routed = new WeakMap<KafkaRecord, OpenedRecord>();
  private readonly heartbeat: () => Promise<void>;
  private warned = false;

  constructor(
    private readonly options: ResolvedOptions,
    consumer: DriverConsumer,
    private readonly producer: DriverProducer,
    private readonly records: () => RecordConsumer,
    private readonly log: Log,
  ) {
    this.heartbeat = () => consumer.heartbeat();
    this.consumer = lentConsumer(consumer.native as object, records);
    this.durableConsumer = withMethods(this.consumer, { commitOffsets: () => this.refuseCommit() });
    const { deserializer } = options.given;
    this.patternOf = deserializer && ((record) => this.readPattern(record, deserializer));
  }

  /** Throws or rejects if the user's deserializer does. */
  readonly open = (attempt: Attempt): HandlerCall | Promise<HandlerCall> => {
    const { record } = attempt.delivery;
    const { message, packet } = this.takeRouted(record) ?? this.openRecord(record);
    const { consumer, producer, heartbeat } = this;
    const args = [message, record.partition, record.topic, consumer, heartbeat, producer.native];
    const context = new KafkaDeliveryContext(args as unknown as ContextArgs, attempt, this);
    return isPromise(packet)
      ? packet.then(({ data }) => ({ data, context }))
      : { data: packet.data, context };
  };

  pause({ delivery }: Attempt): () => void {
    const holder = Symbol('context.pause');
    const records = this.records();
    records.pause(delivery.partition, holder);
    return () => records.resume(delivery.partition, holder);
  }

  private openRecord(record: KafkaRecord, deserializer = this.options.given.deserializer): OpenedRecord {
    const message = parseRecord(record, { keepBinary: this.options.keepBinary });
    return { message, packet: deserializeRequest(message, deserializer) };
  }

  private takeRouted(record: KafkaRecord): OpenedRecord | undefined {
    const routed = this.patternOf && this.routed.get(record);
    if (routed) this.routed.delete(record);
    return routed;
  }

  private readPattern(record: KafkaRecord, deserializer: MessageDeserializer): unknown {
    const opened = this.openRecord(record, deserializer);
    const keep = (packet: RequestPacket): unknown => {
      this.routed.set(record, { message: opened.message, packet });
      return packet.pattern;
    };
    return isPromise(opened.packet) ? opened.packet.then(keep) : keep(opened.packet);
  }

  private refuseCommit(): Promise<void> {
    if (!this.warned) {
      this.log.warn(
        'commitOffsets() was called in a durable handler and did nothing: offsets follow the ledger, and are committed ' +
          'when a record is done. Remove the call.',
      );
    }
    this.warned = true;
    return Promise.resolve();
  }
}
