import { ClientKafkaProxy } from './client-kafka.proxy.js';
import type { KafkaTransportOptions } from './kafka-transport.options.js';

/** An entry for `ClientsModule.register()`, with this library's own options typed. */
export interface KafkaClientEntry {
  name: string | symbol;
  customClass: typeof ClientKafkaProxy;
  options: KafkaTransportOptions;
}

/** `ClientsModule.register([kafkaClient('ORDERS', { client: { brokers } })])`; `name` is the injection token. */
export function kafkaClient(name: string | symbol, options: KafkaTransportOptions): KafkaClientEntry {
  return { name, customClass: ClientKafkaProxy, options };
}
