import type { RecordConsumer } from '../consumption/record-consumer.js';
import { readPosition } from '../messages/positions.js';
import type { TopicPartition } from '../messages/record.js';

/** Without numbers: all partitions of the topic that are held. */
interface Partitions {
  readonly topic: string;
  readonly partitions?: readonly number[];
}

/** `-1` is the end and `-2` the beginning, as in kafkajs. */
interface Position extends TopicPartition {
  readonly offset: string;
}

type Engine = Pick<RecordConsumer, 'partitions' | 'pause' | 'resume' | 'restartAt'>;

/**
 * The driver's own consumer as users get it. `pause`, `resume` and `seek` also reach the records that were fetched
 * already and wait for their turn; everything else is the driver's.
 */
export function lentConsumer(native: object, engine: () => Engine): object {
  const holder = Symbol('consumer.pause');
  const each = (topics: readonly Partitions[], act: (partition: TopicPartition) => void) => {
    for (const { topic, partitions } of topics) {
      const held = engine().partitions.filter((partition) => partition.topic === topic);
      for (const partition of partitions ?? held.map((each) => each.partition)) act({ topic, partition });
    }
  };
  const methods: Record<PropertyKey, unknown> = {
    pause: (topics: readonly Partitions[]) => each(topics, (partition) => engine().pause(partition, holder)),
    resume: (topics: readonly Partitions[]) =>
      each(topics, (partition) => engine().resume(partition, holder)),
    seek: (position: Position) => {
      // Before anything is forgotten: a seek that is refused afterwards would lose what was fetched.
      const { offset } = readPosition(position, 'seek()', true);
      engine().restartAt(offset, position);
      (native as { seek(position: Position): void }).seek(position);
    },
  };
  return withMethods(native, methods);
}

/** `target` with other methods in places. Not a copy: what it shows may change, and it may have private state. */
export function withMethods(target: object, methods: Readonly<Record<PropertyKey, unknown>>): object {
  return new Proxy(target, {
    get(_, name) {
      if (Object.hasOwn(methods, name)) return methods[name];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
