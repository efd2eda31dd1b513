import type { ConsumerStatus } from '../../driver/driver.js';
import { readPosition, readPositions } from '../../messages/positions.js';
import type { PartitionOffset, TopicPartition } from '../../messages/record.js';
import type { Clock } from '../../runtime/clock.js';

/** Partitions as kafkajs names them; without numbers all that this consumer holds of the topic. */
export interface NativeTopicPartitions {
  readonly topic: string;
  readonly partitions?: readonly number[];
}

export interface NativeOffset {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
}

export interface NativeEvent {
  readonly id: number;
  readonly type: string;
  readonly timestamp: number;
  readonly payload: unknown;
}

interface Commands {
  commit(offsets: readonly PartitionOffset[]): Promise<void>;
  pause(partitions: readonly TopicPartition[]): void;
  resume(partitions: readonly TopicPartition[]): void;
  seek(position: PartitionOffset): void;
}

interface Assignment {
  readonly partitions: readonly TopicPartition[];
  readonly paused: readonly TopicPartition[];
}

const EVENTS = {
  CONNECT: 'consumer.connect',
  DISCONNECT: 'consumer.disconnect',
  STOP: 'consumer.stop',
  CRASH: 'consumer.crash',
  REBALANCING: 'consumer.rebalancing',
  GROUP_JOIN: 'consumer.group_join',
  HEARTBEAT: 'consumer.heartbeat',
  COMMIT_OFFSETS: 'consumer.commit_offsets',
} as const;

export type NativeEventName = (typeof EVENTS)[keyof typeof EVENTS];

const STATUS_EVENTS: Record<ConsumerStatus, NativeEventName> = {
  connected: EVENTS.CONNECT,
  disconnected: EVENTS.DISCONNECT,
  rebalancing: EVENTS.REBALANCING,
  crashed: EVENTS.CRASH,
  stopped: EVENTS.STOP,
};

/** What handlers reach through `KafkaContext.getConsumer()`: those methods of kafkajs' consumer that make sense there. */
export class NativeConsumer {
  readonly events = EVENTS;
  readonly #listeners = new Map<string, Set<(event: NativeEvent) => void>>();
  #lastId = 0;

  constructor(
    private readonly commands: Commands,
    private readonly clock: Clock,
    private readonly assignment: () => Assignment | undefined,
  ) {}

  async commitOffsets(offsets: readonly NativeOffset[]): Promise<void> {
    await this.commands.commit(readPositions(offsets, 'commitOffsets()'));
  }

  pause(topics: readonly NativeTopicPartitions[]): void {
    this.commands.pause(this.#expand(topics));
  }

  resume(topics: readonly NativeTopicPartitions[]): void {
    this.commands.resume(this.#expand(topics));
  }

  paused(): { topic: string; partitions: number[] }[] {
    const byTopic = assignmentOf(this.assignment()?.paused ?? []);
    return Object.entries(byTopic).map(([topic, partitions]) => ({ topic, partitions }));
  }

  seek(position: NativeOffset): void {
    this.commands.seek(readPosition(position, 'seek()'));
  }

  /** Calls back on each event until the returned function is called. */
  on(event: NativeEventName, listener: (event: NativeEvent) => void): () => void {
    let listeners = this.#listeners.get(event);
    if (!listeners) this.#listeners.set(event, (listeners = new Set()));
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** For the consumer itself. */
  emit(type: NativeEventName, payload: unknown): void {
    const listeners = this.#listeners.get(type);
    if (!listeners) return;
    const event = { id: ++this.#lastId, type, timestamp: this.clock.now(), payload };
    for (const listener of [...listeners]) listener(event);
  }

  /** For the consumer itself. */
  emitStatus(status: ConsumerStatus, detail: string | undefined): void {
    this.emit(STATUS_EVENTS[status], detail === undefined ? null : { reason: detail });
  }

  #expand(topics: readonly NativeTopicPartitions[]): TopicPartition[] {
    return topics.flatMap(({ topic, partitions }) => {
      if (partitions) return partitions.map((partition) => ({ topic, partition }));
      return (this.assignment()?.partitions ?? []).filter((each) => each.topic === topic);
    });
  }
}

/** Partition numbers by topic, as kafkajs tells them of a join. */
export function assignmentOf(partitions: readonly TopicPartition[]): Record<string, number[]> {
  const byTopic = new Map<string, number[]>();
  for (const { topic, partition } of partitions)
    byTopic.set(topic, [...(byTopic.get(topic) ?? []), partition]);
  return Object.fromEntries(byTopic);
}
