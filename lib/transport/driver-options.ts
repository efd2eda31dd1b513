import type { DriverConsumerOptions, DriverProducerOptions, DriverReadOptions } from '../driver/driver.js';
import type { ResolvedOptions } from './resolve-options.js';

type ConsumerSettings = Omit<DriverConsumerOptions, 'groupId' | 'topics' | 'fromBeginning' | 'assigners'>;

/** Nest's consumer options in the driver's words, as far as they are about reading. */
export function driverReadOptions({ given: { consumer } }: ResolvedOptions): DriverReadOptions {
  return {
    maxWaitTime: consumer?.maxWaitTimeInMs,
    minBytes: consumer?.minBytes,
    maxBytes: consumer?.maxBytes,
    maxBytesPerPartition: consumer?.maxBytesPerPartition,
    metadataMaxAge: consumer?.metadataMaxAge,
    readUncommitted: consumer?.readUncommitted,
    rackId: consumer?.rackId,
    native: consumer,
  };
}

/** All of Nest's consumer options in the driver's words. */
export function driverConsumerOptions(resolved: ResolvedOptions): ConsumerSettings {
  return {
    ...driverReadOptions(resolved),
    sessionTimeout: resolved.sessionTimeout,
    rebalanceTimeout: resolved.rebalanceTimeout,
    heartbeatInterval: resolved.heartbeatInterval,
  };
}

/** Nest's producer and send options in the driver's words. A topic written to is made by the broker, as kafkajs has it. */
export function driverProducerOptions({ given }: ResolvedOptions): DriverProducerOptions {
  const { acks, timeout, compression } = given.send ?? {};
  return {
    acks: acks as DriverProducerOptions['acks'],
    timeout,
    compression,
    native: { allowAutoTopicCreation: given.provision ?? true, ...given.producer },
  };
}
