import type { KafkaTransportOptions } from './kafka-transport.options.js';

/** kafkajs' and Nest's names. What else stands there, nobody reads: neither does kafkajs. */
const NAMES = {
  consumer: [
    'groupId',
    'partitionAssigners',
    'metadataMaxAge',
    'sessionTimeout',
    'rebalanceTimeout',
    'heartbeatInterval',
    'maxBytesPerPartition',
    'minBytes',
    'maxBytes',
    'maxWaitTimeInMs',
    'retry',
    'allowAutoTopicCreation',
    'maxInFlightRequests',
    'readUncommitted',
    'rackId',
  ],
  producer: [
    'createPartitioner',
    'retry',
    'metadataMaxAge',
    'allowAutoTopicCreation',
    'idempotent',
    'transactionalId',
    'transactionTimeout',
    'maxInFlightRequests',
  ],
  subscribe: ['fromBeginning'],
  send: ['acks', 'timeout', 'compression'],
  parser: ['keepBinary'],
} as const;

/**
 * Warnings about options that are allowed, so that an application moves here as it is, and have no effect: each names the
 * option and what takes its place.
 */
export function ineffectiveOptions(given: KafkaTransportOptions): string[] {
  const unknown = Object.entries(NAMES).flatMap(([where, names]) =>
    Object.keys((given as Record<string, object | undefined>)[where] ?? {})
      .filter((name) => !(names as readonly string[]).includes(name))
      .map((name) => `The option "${where}.${name}" has no effect: neither Nest nor kafkajs knows it`),
  );
  if (given.consumer?.maxInFlightRequests != null) {
    unknown.push(
      'The option "consumer.maxInFlightRequests" has no effect: each connection of the consumer has one request under way',
    );
  }
  for (const where of ['client', 'consumer'] as const) {
    if (given[where]?.retry?.restartOnFailure === undefined) continue;
    unknown.push(
      `The option "${where}.retry.restartOnFailure" has no effect: the consumer goes on after any failure. To end the ` +
        'process instead, subscribe to "status" and look for "crashed"',
    );
  }
  return unknown;
}
