import { InvalidOptionError, TopicMissingError } from '../../errors/errors.js';
import type { TopicDescription } from '../../driver/driver.js';
import type { Broker } from './broker.js';
import { PartitionLog } from './partition-log.js';

// Kafka's own rule for topic names.
const TOPIC_NAME = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/;

export interface Topic {
  readonly name: string;
  /** A new one each time the name is created. */
  readonly topicId: string;
  readonly partitions: PartitionLog[];
  /** Milliseconds that records are said to be kept for. None is ever deleted for its age. */
  readonly retention: number;
}

/** That of a broker. */
const DEFAULT_RETENTION = 7 * 24 * 3_600_000;

/** The topics of one cluster. */
export class TopicStore {
  readonly #topics = new Map<string, Topic>();
  readonly #watchers = new Set<(topic: string) => void>();
  readonly #deletions: ((topic: string) => void)[] = [];

  constructor(
    private readonly broker: Broker,
    private readonly defaultPartitions: number,
  ) {}

  /** A topic that exists stays as it is. */
  create(name: string, partitions = this.defaultPartitions, retention = DEFAULT_RETENTION): Topic {
    const existing = this.#topics.get(name);
    if (existing) return existing;
    if (!isTopicName(name))
      throw new InvalidOptionError('topic', `is "${name}", which Kafka allows for no topic`);
    if (!Number.isInteger(partitions) || partitions < 1) {
      throw new InvalidOptionError('partitions', `must be a whole number above 0, not ${partitions}`);
    }
    const topic: Topic = { name, topicId: this.broker.clock.uuid(), partitions: [], retention };
    this.#grow(topic, partitions);
    this.#topics.set(name, topic);
    return topic;
  }

  /** `count` is the new total; a topic never shrinks. */
  addPartitions(name: string, count: number): void {
    this.#grow(this.expect(name), count);
  }

  delete(name: string): void {
    this.expect(name);
    this.#topics.delete(name);
    for (const deleted of this.#deletions) deleted(name);
    this.changed(name);
  }

  get(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  /** @throws TopicMissingError */
  expect(name: string): Topic {
    const topic = this.#topics.get(name);
    if (topic) return topic;
    throw new TopicMissingError(`Topic "${name}" does not exist. Create it first.`);
  }

  names(): string[] {
    return [...this.#topics.keys()];
  }

  /** Those of `names` that exist. */
  describe(names: Iterable<string>): TopicDescription[] {
    return [...new Set(names)]
      .map((name) => this.#topics.get(name))
      .filter((topic) => topic !== undefined)
      .map(({ name, topicId, partitions }) => ({
        topic: name,
        topicId,
        partitions: partitions.map(({ partition }) => partition),
      }));
  }

  /** To be called after each change of a topic's records. */
  changed(topic: string): void {
    for (const watcher of [...this.#watchers]) watcher(topic);
  }

  /** Calls back after each change until the returned function is called. */
  watch(watcher: (topic: string) => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  onDeleted(listener: (topic: string) => void): void {
    this.#deletions.push(listener);
  }

  #grow(topic: Topic, count: number): void {
    while (topic.partitions.length < count) {
      topic.partitions.push(new PartitionLog(topic.name, topic.partitions.length));
    }
  }
}

export function isTopicName(name: string): boolean {
  return TOPIC_NAME.test(name);
}
