import type { KafkaOptions } from '@nestjs/microservices';
import type { DriverConsumerOptions, DriverProducerOptions, KafkaDriver } from '../driver/driver.js';
import { InvalidOptionError } from '../errors/errors.js';
import type { Clock } from '../runtime/clock.js';

type NestKafkaOptions = NonNullable<KafkaOptions['options']>;

/**
 * Nest's Kafka options and ours. `run` and `subscribe` may be there, so that client and server can share one object,
 * but have nothing to act on: the reply consumer runs no handlers, commits nothing, and never reads old replies.
 */
export interface ClientOptions extends NestKafkaOptions {
  /** Which Kafka client. Default: kafkajs. */
  driver?: KafkaDriver;
  /** Milliseconds `send()` waits for its first reply, and then from each reply of a stream to the next. Default 30 000. */
  requestTimeout?: number;
  /** Creates missing reply topics before subscribing. Default: `consumer.allowAutoTopicCreation`, which is `true`. */
  provision?: boolean;
  /** For tests. */
  clock?: Clock;
}

export const DEFAULT_REQUEST_TIMEOUT = 30_000;

/** @throws InvalidOptionError for what can't work or belongs to the client itself. */
export function validateClientOptions(options: ClientOptions): void {
  const { requestTimeout } = options;
  if (requestTimeout !== undefined && !(typeof requestTimeout === 'number' && requestTimeout > 0)) {
    throw new InvalidOptionError('requestTimeout', 'must be a number of milliseconds above 0 (or Infinity)');
  }
  if (options.consumer?.partitionAssigners !== undefined) {
    throw new InvalidOptionError(
      'consumer.partitionAssigners',
      'belongs to the client: another assigner would take reply partitions away from requests on their way',
    );
  }
}

/** Nest's consumer options in the driver's words. */
export function replyConsumerOptions(
  options: ClientOptions,
): Omit<DriverConsumerOptions, 'groupId' | 'topics' | 'fromBeginning' | 'assigners'> {
  const { consumer } = options;
  return {
    sessionTimeout: consumer?.sessionTimeout,
    rebalanceTimeout: consumer?.rebalanceTimeout,
    heartbeatInterval: consumer?.heartbeatInterval,
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

/** Nest's producer and send options in the driver's words. */
export function producerOptions(options: ClientOptions): DriverProducerOptions {
  const { producer, send } = options;
  return {
    acks: send?.acks as DriverProducerOptions['acks'],
    timeout: send?.timeout,
    compression: send?.compression,
    native: producer,
  };
}

export function provisions(options: ClientOptions): boolean {
  return options.provision ?? options.consumer?.allowAutoTopicCreation ?? true;
}
