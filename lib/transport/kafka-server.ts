import type { CustomStrategy } from '@nestjs/microservices';
import type { KafkaTransportOptions } from './kafka-transport.options.js';
import { ServerKafka } from './server-kafka.js';

/**
 * Options for `NestFactory.createMicroservice()` and `app.connectMicroservice()` that make Nest listen with this
 * transport: the explicit form, with this library's own options.
 * @throws InvalidOptionError
 */
export function kafkaServer(options: KafkaTransportOptions): CustomStrategy {
  return { strategy: new ServerKafka(options) };
}
