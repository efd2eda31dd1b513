import type { Attempt } from '../consumption/attempt.js';
import type { DriverConsumer, DriverProducer } from '../driver/driver.js';
import { deserializeRequest } from '../messages/packets.js';
import { parseRecord } from '../messages/parser.js';
import { isPromise } from '../runtime/is-promise.js';
import { KafkaDeliveryContext } from './kafka-delivery.context.js';
import type { HandlerCall } from './nest-delivery-handler.js';
import type { ResolvedOptions } from './resolve-options.js';

type ContextArgs = ConstructorParameters<typeof KafkaDeliveryContext>[0];

/** Makes what a handler is called with: the parsed record's data, and a context of its own for each attempt. */
export class HandlerCalls {
  private readonly heartbeat: () => Promise<void>;

  constructor(
    private readonly options: ResolvedOptions,
    private readonly consumer: DriverConsumer,
    private readonly producer: DriverProducer,
  ) {
    this.heartbeat = () => consumer.heartbeat();
  }

  /** Throws or rejects if the user's deserializer does. */
  readonly open = (attempt: Attempt): HandlerCall | Promise<HandlerCall> => {
    const { record } = attempt.delivery;
    const { keepBinary, given } = this.options;
    const message = parseRecord(record, { keepBinary });
    const { consumer, producer, heartbeat } = this;
    const args = [message, record.partition, record.topic, consumer.native, heartbeat, producer.native];
    const context = new KafkaDeliveryContext(args as unknown as ContextArgs, attempt);
    const packet = deserializeRequest(message, given.deserializer);
    return isPromise(packet)
      ? packet.then(({ data }) => ({ data, context }))
      : { data: packet.data, context };
  };
}
