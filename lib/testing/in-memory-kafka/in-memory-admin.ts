import type { DriverAdmin, TopicDescription, TopicSpecification } from '../../driver/driver.js';
import { InvalidOptionError, WrongCallOrderError } from '../../errors/errors.js';
import type { PartitionOffset } from '../../messages/record.js';
import type { Cluster } from './cluster.js';
import { Connection } from './connection.js';

/** Administers the in-memory cluster. Replication factors and settings of topics have no effect. */
export class InMemoryAdmin implements DriverAdmin {
  readonly #connection: Connection;
  #connected = false;

  constructor(private readonly cluster: Cluster) {
    this.#connection = new Connection(cluster.broker, cluster.clock);
  }

  async connect(): Promise<void> {
    await this.#connection.request('a connection', () => {});
    this.#connected = true;
  }

  disconnect(): Promise<void> {
    this.#connected = false;
    return Promise.resolve();
  }

  createTopics(topics: readonly TopicSpecification[]): Promise<void> {
    return this.#request('a topic creation', () => {
      for (const { topic, partitions, configEntries } of topics)
        this.cluster.topics.create(topic, partitions, retention(configEntries));
    });
  }

  /** @throws TopicMissingError for a name without a topic, after the others have been deleted. */
  deleteTopics(topics: readonly string[]): Promise<void> {
    return this.#request('a topic deletion', () => {
      const existing = topics.filter((topic) => this.cluster.topics.get(topic));
      for (const topic of existing) this.cluster.topics.delete(topic);
      for (const topic of topics) if (!existing.includes(topic)) this.cluster.topics.expect(topic);
    });
  }

  /** @throws InvalidOptionError unless `count` is more than there are, as Kafka has it. */
  createPartitions(topic: string, count: number): Promise<void> {
    return this.#request('a partition creation', () => {
      const { length } = this.cluster.topics.expect(topic).partitions;
      if (!Number.isInteger(count) || count <= length) {
        throw new InvalidOptionError(
          'count',
          `must be above ${length}, what topic "${topic}" has, not ${count}`,
        );
      }
      this.cluster.topics.addPartitions(topic, count);
    });
  }

  describeTopics(topics?: readonly string[]): Promise<TopicDescription[]> {
    return this.#request('a metadata request', () =>
      this.cluster.topics.describe(topics ?? this.cluster.topics.names()),
    );
  }

  retentions(topics: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return this.#request('a settings request', () => {
      const existing = topics.flatMap((topic) => this.cluster.topics.get(topic) ?? []);
      return new Map(existing.map(({ name, retention }) => [name, retention]));
    });
  }

  watermarks(topic: string): Promise<{ partition: number; low: bigint; high: bigint }[]> {
    return this.#request('a watermark request', () =>
      this.cluster.topics
        .expect(topic)
        .partitions.map(({ partition, low, high }) => ({ partition, low, high })),
    );
  }

  committed(groupId: string, topic: string): Promise<PartitionOffset[]> {
    return this.#request('an offset fetch', () => committedOffsets(this.cluster, groupId, topic));
  }

  setCommitted(groupId: string, offsets: readonly PartitionOffset[]): Promise<void> {
    return this.#request('an offset commit', () =>
      this.cluster.coordinator.commit(groupId, offsets, undefined),
    );
  }

  deleteGroup(groupId: string): Promise<void> {
    return this.#request('a group deletion', () => this.cluster.coordinator.delete(groupId));
  }

  removeMember(groupId: string, memberId: string): Promise<boolean> {
    return this.#request('a member removal', () => this.cluster.coordinator.group(groupId).remove(memberId));
  }

  memberIds(groupId: string): Promise<readonly string[]> {
    return this.#request('a group description', () => this.cluster.coordinator.group(groupId).memberIds);
  }

  /** As if this process had died. */
  crash(): void {
    this.#connection.sever();
  }

  async #request<T>(what: string, work: () => T): Promise<T> {
    if (!this.#connected)
      throw new WrongCallOrderError('The admin client is not connected: await connect() first');
    return this.#connection.request(what, work);
  }
}

function retention(settings: TopicSpecification['configEntries'] = []): number | undefined {
  const { 'retention.ms': age, 'cleanup.policy': cleanup = 'delete' } = Object.fromEntries(
    settings.map(({ name, value }) => [name, value]),
  ) as Record<string, string | undefined>;
  if (!cleanup.includes('delete') || Number(age) < 0) return Infinity;
  return age === undefined ? undefined : Number(age);
}

/** What a group has committed for each partition of a topic; `-1n` where there is nothing. */
export function committedOffsets(cluster: Cluster, groupId: string, topic: string): PartitionOffset[] {
  return cluster.topics.expect(topic).partitions.map(({ partition }) => ({
    topic,
    partition,
    offset: cluster.coordinator.committed(groupId, topic, partition)?.offset ?? -1n,
  }));
}
