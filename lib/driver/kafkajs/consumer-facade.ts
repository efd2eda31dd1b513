import { EventEmitter } from 'node:events';
import type { Consumer, InstrumentationEvent, Kafka, TopicPartitions } from 'kafkajs';
import { UnsupportedError, WrongCallOrderError } from '../../errors/errors.js';
import { readPosition, readPositions } from '../../messages/positions.js';
import type { PartitionOffset, TopicPartition } from '../../messages/record.js';
import type { Log } from '../../runtime/log.js';
import type { Connections } from './connections.js';
import { text } from './errors.js';
import { DESCRIBE_GROUP, FIND_COORDINATOR } from './group-requests.js';
import { byTopic, type CommittedPartition } from './offset-requests.js';

/** What `KafkaContext.getConsumer()` returns: kafkajs' `Consumer`, whose life belongs to the transport. */
export type ConsumerFacade = Consumer & {
  /** For the driver: publishes an instrumentation event. */
  emit(type: string, payload: unknown): void;
};

/** What the facade needs of the consumer behind it. */
export interface FacadeTarget {
  assignedPartitions(): readonly TopicPartition[];
  paused(): readonly TopicPartition[];
  pause(partitions: readonly TopicPartition[]): void;
  resume(partitions: readonly TopicPartition[]): void;
  seek(position: PartitionOffset): void;
  seekToEdge(partition: TopicPartition, edge: bigint): Promise<void>;
  commit(offsets: readonly CommittedPartition[]): Promise<void>;
  stop(): Promise<void>;
}

/**
 * `connect`, `subscribe` and `run` reject: the transport does that. `stop` and `disconnect` stop the consumer for
 * good. Of the events, those of batches and of single network requests never occur.
 */
export function createConsumerFacade(
  target: FacadeTarget,
  groupId: string,
  connections: Connections,
  kafka: Kafka,
  log: Log,
): ConsumerFacade {
  const emitter = new EventEmitter();
  const { events, logger } = kafka.consumer({ groupId });
  const names = new Set<string>(Object.values(events));
  let eventId = 0;

  const partitionsOf = (
    topics: readonly { topic: string; partitions?: readonly number[] }[],
  ): TopicPartition[] =>
    topics.flatMap(({ topic, partitions }) =>
      partitions
        ? partitions.map((partition) => ({ topic, partition }))
        : target.assignedPartitions().filter((assigned) => assigned.topic === topic),
    );

  return {
    events,
    logger,
    connect: () => owned('connect'),
    subscribe: () => owned('subscribe'),
    run: () => owned('run'),
    stop: () => target.stop(),
    disconnect: () => target.stop(),
    async commitOffsets(offsets = []) {
      const positions = readPositions(offsets, 'commitOffsets()');
      await target.commit(
        positions.map((position, index) => ({ ...position, metadata: offsets[index]!.metadata })),
      );
    },
    seek(position) {
      const { topic, partition, offset } = readPosition(position, 'seek()', true);
      if (offset >= 0n) return target.seek({ topic, partition, offset });
      target
        .seekToEdge({ topic, partition }, offset)
        .catch((error: unknown) =>
          log.error(`Seeking ${topic}[${partition}] to ${offset} failed: ${text(error)}`),
        );
    },
    pause: (topics) => target.pause(partitionsOf(topics)),
    resume: (topics) => target.resume(partitionsOf(topics)),
    paused: (): TopicPartitions[] =>
      byTopic(target.paused()).map(([topic, partitions]) => ({
        topic,
        partitions: partitions.map(({ partition }) => partition),
      })),
    async describeGroup() {
      const coordinator = await connections.sendToAny(FIND_COORDINATOR, { groupId });
      return connections.send(coordinator, 'control', DESCRIBE_GROUP, { groupId });
    },
    on(name: string, listener: (event: never) => void | Promise<void>) {
      if (!names.has(name))
        throw new UnsupportedError(`There is no consumer event "${String(name)}": see consumer.events`);
      const safely = (event: InstrumentationEvent<unknown>) => {
        Promise.resolve(event as never)
          .then(listener)
          .catch((error: unknown) => log.error(`A listener of "${name}" failed: ${text(error)}`));
      };
      emitter.on(name, safely);
      return () => void emitter.off(name, safely);
    },
    emit(type, payload) {
      if (emitter.listenerCount(type) === 0) return;
      emitter.emit(type, { id: String(eventId++), type, timestamp: connections.now(), payload });
    },
  } as ConsumerFacade;
}

function owned(method: string): Promise<never> {
  return Promise.reject(
    new WrongCallOrderError(
      `consumer.${method}() was called on a consumer that the transport owns: it connects, subscribes and runs it`,
    ),
  );
}
