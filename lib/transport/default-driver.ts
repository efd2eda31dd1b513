import type { KafkaDriver } from '../driver/driver.js';
import { KafkajsDriver } from '../driver/kafkajs/kafkajs-driver.js';
import type { Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';

/** kafkajs' own configuration; by way of the driver, the only one who knows kafkajs. */
type ClientConfig = ConstructorParameters<typeof KafkajsDriver>[0];

/** The driver of a transport that was given none: kafkajs under the user's own client options. */
export function createDefaultDriver(config: ClientConfig, clock: Clock, log: Log): KafkaDriver {
  return new KafkajsDriver(config, clock, log);
}
