import type { KafkaDriver } from '../driver/driver.js';
import { KafkajsDriver } from '../driver/kafkajs/kafkajs-driver.js';
import type { Log } from '../runtime/log.js';
import type { ResolvedOptions } from './resolve-options.js';

/** The driver of a transport that was given none: kafkajs under the user's own client options. */
export function createDefaultDriver(options: ResolvedOptions, log: Log): KafkaDriver {
  const { given, clientId, brokers, clock } = options;
  return new KafkajsDriver({ client: { ...given.client, clientId, brokers }, log, clock });
}
