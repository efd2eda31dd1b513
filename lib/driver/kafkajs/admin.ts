import { KafkaTransportError } from '../../errors/kafka-transport.error.js';
import { BrokerUnreachableError, TopicMissingError } from '../../errors/errors.js';
import type { PartitionOffset } from '../../messages/record.js';
import { sleep, type Clock } from '../../runtime/clock.js';
import type { DriverAdmin, TopicDescription, TopicSpecification } from '../driver.js';
import {
  CREATE_PARTITIONS,
  CREATE_TOPICS,
  DELETE_GROUP,
  DELETE_TOPICS,
  DESCRIBE_TOPIC_CONFIGS,
  type NamedErrorCode,
} from './admin-requests.js';
import type { Connections } from './connections.js';
import { isFatal, text } from './errors.js';
import { DESCRIBE_GROUP, FIND_COORDINATOR, LEAVE_GROUP } from './group-requests.js';
import type { ClusterMetadata, TopicMetadata } from './metadata-request.js';
import { EARLIEST, LATEST, OFFSET_COMMIT, OFFSET_FETCH } from './offset-requests.js';
import { check, ProtocolError, protocolType } from './protocol-error.js';
import type { RequestDefinition } from './request.js';
import { listOffsets } from './start-offsets.js';

const UNKNOWN_TOPIC = 3;
const TOPIC_ALREADY_EXISTS = 36;
const GROUP_ID_NOT_FOUND = 69;
const RETENTION = 'retention.ms';
const CLEANUP = 'cleanup.policy';
/** A group id that no member has: offsets are stored for the group as such. */
const NO_GENERATION = -1;
const RETRY_WAIT = 100;
/** Together with the wait about ten seconds: a controller or coordinator that moves is back by then. */
const RETRIES = 100;

export class KafkajsAdmin implements DriverAdmin {
  private connected: Promise<void> | undefined;

  constructor(
    private readonly connections: Connections,
    private readonly clock: Clock,
  ) {}

  connect(): Promise<void> {
    this.connected ??= this.connections.connect().catch(async (error: unknown) => {
      this.connected = undefined;
      await this.connections.disconnect();
      throw error;
    });
    return this.connected;
  }

  async disconnect(): Promise<void> {
    this.connected = undefined;
    await this.connections.disconnect();
  }

  async createTopics(topics: readonly TopicSpecification[]): Promise<void> {
    if (topics.length === 0) return;
    await this.controller('Creating topics', async (send) => {
      for (const created of await send(CREATE_TOPICS, { topics }))
        refuse(created, 'CreateTopics', TOPIC_ALREADY_EXISTS);
    });
    await this.untilServed(topics.map(({ topic }) => topic));
  }

  /** Resolves when they are gone from the metadata. Missing ones are fine. */
  async deleteTopics(topics: readonly string[]): Promise<void> {
    if (topics.length === 0) return;
    await this.controller('Deleting topics', async (send) => {
      for (const deleted of await send(DELETE_TOPICS, { topics: [...new Set(topics)] }))
        refuse(deleted, 'DeleteTopics', UNKNOWN_TOPIC);
    });
    await this.until('Deleting topics', async () => (await this.describeTopics(topics)).length === 0);
  }

  async createPartitions(topic: string, count: number): Promise<void> {
    await this.controller(`Adding partitions to "${topic}"`, async (send) => {
      for (const created of await send(CREATE_PARTITIONS, { topic, count }))
        refuse(created, 'CreatePartitions');
    });
    await this.untilServed([topic], count);
  }

  /** Kafka's internal topics are left out unless they are named. */
  async describeTopics(topics?: readonly string[]): Promise<TopicDescription[]> {
    const metadata = await this.metadata(topics ?? null);
    return [...metadata.topics.values()]
      .filter(({ errorCode, isInternal }) => errorCode === 0 && (topics || !isInternal))
      .map(({ topic, topicId, partitions }) => ({
        topic,
        topicId,
        partitions: partitions.map(({ partition }) => partition),
      }));
  }

  async retentions(topics: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (topics.length === 0) return new Map();
    await this.connect();
    const names = [RETENTION, CLEANUP];
    const settings = await this.persist('Reading how long topics keep records', () =>
      this.connections.sendToAny(DESCRIBE_TOPIC_CONFIGS, { topics: [...new Set(topics)], names }),
    );
    const readable = settings.filter(({ errorCode }) => errorCode === 0);
    return new Map(readable.map(({ topic, values }) => [topic, retention(values)]));
  }

  async watermarks(topic: string): Promise<{ partition: number; low: bigint; high: bigint }[]> {
    return this.persist(`Reading the watermarks of "${topic}"`, async () => {
      const { partitions } = await this.existing(topic);
      const leaders = {
        leader: ({ partition }: { partition: number }) =>
          partitions.find((known) => known.partition === partition && known.leader >= 0)?.leader,
      };
      const all = partitions.map(({ partition }) => ({ topic, partition }));
      const list = (edge: bigint) => listOffsets(this.connections, leaders, all, edge, false);
      const [lows, highs] = await Promise.all([list(EARLIEST), list(LATEST)]);
      const offset = (offsets: PartitionOffset[], wanted: number) =>
        offsets.find(({ partition }) => partition === wanted)?.offset ?? 0n;
      return partitions.map(({ partition }) => ({
        partition,
        low: offset(lows, partition),
        high: offset(highs, partition),
      }));
    });
  }

  async committed(groupId: string, topic: string): Promise<PartitionOffset[]> {
    return this.persist(`Reading the offsets of "${groupId}"`, async () => {
      const { partitions } = await this.existing(topic);
      const wanted = partitions.map(({ partition }) => ({ topic, partition }));
      const offsets = await this.toCoordinator(groupId, OFFSET_FETCH, { groupId, partitions: wanted });
      return offsets
        .map(({ partition, offset }) => ({ topic, partition, offset }))
        .sort((a, b) => a.partition - b.partition);
    });
  }

  async setCommitted(groupId: string, offsets: readonly PartitionOffset[]): Promise<void> {
    if (offsets.length === 0) return;
    await this.persist(`Setting the offsets of "${groupId}", which must not have members,`, async () => {
      const input = { groupId, generationId: NO_GENERATION, memberId: '', offsets };
      for (const { errorCode } of await this.toCoordinator(groupId, OFFSET_COMMIT, input)) {
        check(errorCode, 'OffsetCommit');
      }
    });
  }

  /** A group that is not there is fine. */
  async deleteGroup(groupId: string): Promise<void> {
    await this.persist(`Deleting the group "${groupId}"`, async () => {
      for (const deleted of await this.toCoordinator(groupId, DELETE_GROUP, { groupId })) {
        refuse(deleted, 'DeleteGroups', GROUP_ID_NOT_FOUND);
      }
    });
  }

  async removeMember(groupId: string, memberId: string): Promise<boolean> {
    return this.persist(`Removing a member from "${groupId}"`, async () => {
      try {
        await this.toCoordinator(groupId, LEAVE_GROUP, { groupId, memberId });
        return true;
      } catch (error) {
        if (protocolType(error) !== 'UNKNOWN_MEMBER_ID') throw error;
        return false;
      }
    });
  }

  async memberIds(groupId: string): Promise<readonly string[]> {
    return this.persist(`Asking for the members of "${groupId}"`, async () => {
      const { members } = await this.toCoordinator(groupId, DESCRIBE_GROUP, { groupId });
      return members.map(({ memberId }) => memberId);
    });
  }

  private async metadata(topics: readonly string[] | null): Promise<ClusterMetadata> {
    await this.connect();
    return this.connections.metadata(topics);
  }

  private async existing(name: string): Promise<TopicMetadata> {
    const topic = (await this.metadata([name])).topics.get(name);
    if (!topic || topic.errorCode === UNKNOWN_TOPIC)
      throw new TopicMissingError(`Topic "${name}" does not exist`);
    check(topic.errorCode, `Metadata of "${name}"`);
    return topic;
  }

  private async untilServed(topics: readonly string[], count = 1): Promise<void> {
    await this.until(`Waiting for the leaders of ${topics.join(', ')}`, async () => {
      const metadata = await this.metadata(topics);
      return topics.every((name) => {
        const topic = metadata.topics.get(name);
        return (
          topic?.errorCode === 0 &&
          topic.partitions.length >= count &&
          topic.partitions.every(({ leader }) => leader >= 0)
        );
      });
    });
  }

  private async until(what: string, isDone: () => Promise<boolean>): Promise<void> {
    for (let attempt = 0; attempt < RETRIES; attempt++) {
      if (await isDone()) return;
      await sleep(this.clock, RETRY_WAIT);
    }
    throw new BrokerUnreachableError(`${what} took longer than ${(RETRIES * RETRY_WAIT) / 1000} s`);
  }

  /** Before KRaft only the controller takes such requests; with it any broker forwards them. */
  private controller(
    what: string,
    work: (send: <I, O>(request: RequestDefinition<I, O>, input: I) => Promise<O>) => Promise<void>,
  ): Promise<void> {
    return this.persist(what, async () => {
      const { controllerId } = await this.metadata([]);
      await work((request, input) => this.connections.send(controllerId, 'control', request, input));
    });
  }

  private async toCoordinator<I, O>(groupId: string, request: RequestDefinition<I, O>, input: I): Promise<O> {
    await this.connect();
    const coordinator = await this.connections.sendToAny(FIND_COORDINATOR, { groupId });
    return this.connections.send(coordinator, 'coordinator', request, input);
  }

  /** Tries again what passes by itself. */
  private async persist<T>(what: string, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const passing = error instanceof ProtocolError ? error.retryable : false;
        if (passing && attempt < RETRIES) {
          await sleep(this.clock, RETRY_WAIT);
          continue;
        }
        if (error instanceof KafkaTransportError) throw error;
        throw new BrokerUnreachableError(`${what} failed: ${text(error)}`, {
          cause: error,
          retryable: error instanceof ProtocolError ? error.retryable : !isFatal(error),
        });
      }
    }
  }
}

function retention(settings: ReadonlyMap<string, string | null>): number {
  const deletes = (settings.get(CLEANUP) ?? 'delete').includes('delete');
  const milliseconds = Number(settings.get(RETENTION) ?? -1);
  return deletes && milliseconds >= 0 ? milliseconds : Infinity;
}

function refuse({ name, errorCode, message }: NamedErrorCode, request: string, tolerated = 0): void {
  if (errorCode === tolerated) return;
  check(errorCode, `${request} for "${name}"${message ? ` (${message})` : ''}`);
}
