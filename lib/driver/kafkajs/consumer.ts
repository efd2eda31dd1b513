import type { Kafka } from 'kafkajs';
import { BrokerUnreachableError, StaleMemberError, WrongCallOrderError } from '../../errors/errors.js';
import { partitionName, type PartitionOffset, type TopicPartition } from '../../messages/record.js';
import type { Clock } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type {
  AssignedPartition,
  ConsumerListener,
  DriverConsumer,
  DriverConsumerOptions,
  GroupMembership,
  RevocationReason,
} from '../driver.js';
import type { ProtocolAssigner } from './assigner.js';
import type { Connections } from './connections.js';
import { createConsumerFacade, type ConsumerFacade } from './consumer-facade.js';
import { memberError, text } from './errors.js';
import { fetcherOptions } from './fetcher-options.js';
import { Fetcher } from './fetcher.js';
import { GroupMember, type Generation } from './group-member.js';
import { LogHistory } from './log-history.js';
import { reportTrouble } from './report-trouble.js';
import { listOffsets } from './start-offsets.js';
import { StartPositions } from './start-positions.js';
import { TopicIncarnations } from './topic-incarnations.js';
import { Topology } from './topology.js';
import type { CommittedPartition } from './offset-requests.js';

/** How long `start` waits for the positions of its first assignment. */
const START_PATIENCE = 30_000;

/** Wires a group member, the knowledge of the cluster and a fetcher to the port. */
export class KafkajsConsumer implements DriverConsumer {
  readonly native: ConsumerFacade;
  private readonly topology: Topology;
  private readonly history: LogHistory;
  private readonly fetcher: Fetcher;
  private member: GroupMember | undefined;
  private listener: ConsumerListener | undefined;
  private assignment: readonly AssignedPartition[] = [];
  /** Partitions that may be committed now, by name with the id of their topic: what is held or is being revoked. */
  private committable: ReadonlyMap<string, string> = new Map();
  /** Assigned by the leader, but not (yet) known to exist. */
  private pending: readonly TopicPartition[] = [];
  private readonly incarnations: TopicIncarnations;
  private readonly startPositions: StartPositions;
  private readonly partitionCounts = new Map<string, number>();
  private subscribed = '';
  private rebalanceId = 0;
  private stopping: Promise<void> | undefined;

  constructor(
    private readonly options: DriverConsumerOptions,
    private readonly connections: Connections,
    kafka: Kafka,
    private readonly assigners: readonly ProtocolAssigner[],
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.topology = new Topology(
      connections,
      options.topics,
      options.metadataMaxAge ?? 300_000,
      clock,
      log,
      () => this.topologyChanged(),
    );
    this.incarnations = new TopicIncarnations(this.topology);
    this.startPositions = new StartPositions(
      options,
      connections,
      this.topology,
      this.incarnations,
      (offsets) => this.running().commit(offsets),
      clock,
      log,
    );
    this.history = new LogHistory(connections, this.topology);
    this.fetcher = new Fetcher(
      connections,
      this.topology,
      this.history,
      fetcherOptions(options),
      {
        records: (partition, records) => this.listener?.onRecords(partition, records),
        outOfRange: (partition, wanted, resumeAt) =>
          this.listener?.onOffsetOutOfRange(partition, wanted, resumeAt),
        trouble: (...facts) => reportTrouble(...facts, log, this.listener),
        fetched: (nodeId, records, duration) =>
          this.native.emit('consumer.fetch', { nodeId, numberOfBatches: records > 0 ? 1 : 0, duration }),
        isCurrent: () => this.member?.isAlive ?? false,
      },
      clock,
    );
    this.native = createConsumerFacade(this, options.groupId, connections, kafka, log);
  }

  get memberId(): string | undefined {
    return this.member?.memberId || undefined;
  }

  get membership(): GroupMembership | undefined {
    const membership = this.member?.membership;
    return (
      membership && {
        groupId: membership.groupId,
        memberId: membership.memberId,
        generationId: membership.generationId,
      }
    );
  }

  async start(listener: ConsumerListener): Promise<void> {
    if (this.member || this.stopping)
      throw new WrongCallOrderError('This consumer was started before; create another');
    const member = (this.member = new GroupMember(
      this.connections,
      {
        groupId: this.options.groupId,
        sessionTimeout: this.options.sessionTimeout ?? 30_000,
        rebalanceTimeout: this.options.rebalanceTimeout ?? 60_000,
        heartbeatInterval: this.options.heartbeatInterval ?? 3_000,
        assigners: this.assigners,
      },
      {
        topics: () => this.topicsToJoin(),
        partitions: (topics) => this.groupPartitions(topics),
        assigned: (generation, ended) => this.assigned(generation, ended),
        revoked: (reason) => this.revoked(reason),
        status: (status, detail) => {
          listener.onStatus(status, detail);
          if (status === 'rebalancing') this.native.emit('consumer.rebalancing', { ...this.membership });
          if (status === 'crashed')
            this.native.emit('consumer.crash', { groupId: this.options.groupId, restart: true });
        },
        heartbeat: ({ groupId, memberId, generationId }) =>
          this.native.emit('consumer.heartbeat', { groupId, memberId, groupGenerationId: generationId }),
      },
      this.clock,
      this.log,
    ));
    this.listener = listener;
    try {
      await this.connections.connect();
      await this.topology.start();
      this.incarnations.rememberInitial();
      this.native.emit('consumer.connect', null);
      await member.start();
    } catch (error) {
      this.stopping ??= this.tearDown(member);
      await this.stopping;
      throw memberError(error, `Starting the consumer of "${this.options.groupId}"`);
    }
  }

  stop(): Promise<void> {
    this.stopping ??= this.member ? this.tearDown(this.member) : Promise.resolve();
    return this.stopping;
  }

  pause(partitions: readonly TopicPartition[]): void {
    this.fetcher.pause(partitions);
  }

  resume(partitions: readonly TopicPartition[]): void {
    this.fetcher.resume(partitions);
  }

  seek({ offset, ...partition }: PartitionOffset): void {
    this.fetcher.seek(partition, offset);
  }

  paused(): TopicPartition[] {
    return this.fetcher.paused();
  }

  assignedPartitions(): readonly AssignedPartition[] {
    return this.assignment;
  }

  /** @param edge the first or the next offset, as `ListOffsets` names them */
  async seekToEdge(partition: TopicPartition, edge: bigint): Promise<void> {
    const [position] = await listOffsets(
      this.connections,
      this.topology,
      [partition],
      edge,
      !this.options.readUncommitted,
    );
    this.fetcher.seek(partition, position!.offset);
  }

  async commit(offsets: readonly CommittedPartition[]): Promise<void> {
    const member = this.running();
    const foreign = offsets.find(
      ({ topic, partition }) => !this.committable.has(partitionName({ topic, partition })),
    );
    // The broker would take it: it only looks at the generation.
    if (foreign)
      throw new StaleMemberError(
        `${partitionName(foreign)} is not held by this member: nothing was committed`,
      );
    await member.commit(
      offsets.map((position) => ({
        ...position,
        leaderEpoch: this.history.epochOf(position),
        metadata:
          position.metadata || this.incarnations.mark(this.committable.get(partitionName(position)) ?? ''),
      })),
    );
    this.native.emit('consumer.commit_offsets', { ...this.membership, offsets: offsets.length });
  }

  async heartbeat(): Promise<void> {
    await this.running().heartbeat();
  }

  async confirmMembership(): Promise<boolean> {
    return this.running().confirm();
  }

  async endOfEpoch(partition: TopicPartition, leaderEpoch: number): Promise<bigint | undefined> {
    try {
      const leader = this.topology.leader(partition);
      if (leader === undefined) throw new Error('it has no leader at the moment');
      const end = await this.history.endOf(leader, partition, leaderEpoch);
      return end < 0n ? undefined : end;
    } catch (error) {
      this.topology.refreshSoon();
      throw new BrokerUnreachableError(
        `The end of leader epoch ${leaderEpoch} in the log of ${partitionName(partition)} is not known: ${text(error)}`,
        { cause: error },
      );
    }
  }

  private running(): GroupMember {
    if (!this.member) throw new WrongCallOrderError('The consumer was not started');
    return this.member;
  }

  private async tearDown(member: GroupMember): Promise<void> {
    await member.leave();
    this.topology.stop();
    this.fetcher.clear();
    await this.connections.disconnect();
    this.listener?.onStatus('stopped');
    this.native.emit('consumer.stop', null);
    this.native.emit('consumer.disconnect', null);
  }

  private async topicsToJoin(): Promise<readonly string[]> {
    await this.topology.refresh();
    const topics = this.topology.subscribedTopics();
    this.subscribed = topics.join();
    return topics;
  }

  private async groupPartitions(topics: readonly string[]): Promise<ReadonlyMap<string, readonly number[]>> {
    await this.topology.include(topics);
    const partitions = new Map<string, readonly number[]>();
    this.partitionCounts.clear();
    for (const name of topics) {
      const topic = this.topology.topic(name);
      if (!topic) continue;
      partitions.set(
        name,
        topic.partitions.map(({ partition }) => partition),
      );
      this.partitionCounts.set(name, topic.partitions.length);
    }
    return partitions;
  }

  private async assigned(generation: Generation, ended: Promise<unknown>): Promise<void> {
    if (!generation.partitions.every((partition) => this.topology.has(partition))) {
      await this.topology.refresh().catch(() => undefined);
    }
    const over = new AbortController();
    void ended.then(() => over.abort());
    const patience = this.rebalanceId === 0 ? START_PATIENCE : Infinity;
    const offsets = await this.startPositions.find(generation.partitions, over.signal, patience);
    if (!offsets) return;
    const found = new Set(offsets.map(partitionName));
    this.pending = generation.partitions.filter((partition) => !found.has(partitionName(partition)));
    this.rebalanceId++;
    this.assignment = offsets.map(({ topic, partition, topicId, offset }) => ({
      topic,
      partition,
      topicId,
      rebalanceId: this.rebalanceId,
      startOffset: offset,
    }));
    for (const { topic, topicId } of this.assignment) this.incarnations.remember(topic, topicId);
    this.committable = topicIds(this.assignment);
    const { groupId, memberId, leaderId, isLeader, protocol, duration } = generation;
    const memberAssignment: Record<string, number[]> = Object.create(null);
    for (const { topic, partition } of this.assignment) (memberAssignment[topic] ??= []).push(partition);
    this.native.emit('consumer.group_join', {
      ...{ groupId, memberId, leaderId, isLeader, memberAssignment, groupProtocol: protocol, duration },
    });
    const { assignment } = this;
    // Before the listener is told, so that it can pause and seek at once.
    for (const { leaderEpoch, ...partition } of offsets) this.history.begin(partition, leaderEpoch);
    this.fetcher.assign(assignment);
    await this.listener?.onAssigned(assignment);
    // Revoked while the listener was at it: reading must not start any more.
    if (this.assignment !== assignment) return;
    this.fetcher.start();
    this.listener?.onStatus('connected');
  }

  private async revoked(reason: RevocationReason): Promise<void> {
    this.fetcher.clear();
    const { assignment, listener } = this;
    this.assignment = [];
    this.pending = [];
    this.committable = new Map();
    if (!listener || assignment.length === 0) return;
    const isGone = ({ topic, topicId }: AssignedPartition) => this.incarnations.isAnother(topic, topicId);
    const gone = reason === 'lost' ? assignment : assignment.filter(isGone);
    const ours = reason === 'lost' ? [] : assignment.filter((partition) => !isGone(partition));
    for (const [partitions, why] of [
      [gone, 'lost'],
      [ours, 'revoked'],
    ] as const) {
      if (partitions.length === 0) continue;
      if (why === 'revoked') this.committable = topicIds(partitions);
      try {
        await listener.onRevoked(partitions, why);
      } catch (error) {
        this.log.error(
          `The listener failed to give up ${partitions.map(partitionName).join(', ')}: ${text(error)}`,
        );
      }
    }
    this.committable = new Map();
  }

  /** Decides whether newer metadata calls for another assignment. */
  private topologyChanged(): void {
    const { member } = this;
    if (!member?.membership || this.stopping) return;
    const renewed = this.assignment.some(({ topic, topicId }) => this.incarnations.isAnother(topic, topicId));
    const appeared = this.pending.some((partition) => this.topology.has(partition));
    const subscription = this.topology.subscribedTopics().join() !== this.subscribed;
    const grown = member.isLeader && member.groupTopics.some((topic) => this.hasGrown(topic));
    if (renewed || appeared || subscription || grown) member.rejoin();
    else this.fetcher.wake();
  }

  /** A topic that is gone for now has not changed: its return is noticed by its new id. */
  private hasGrown(name: string): boolean {
    const topic = this.topology.topic(name);
    return topic !== undefined && topic.partitions.length !== this.partitionCounts.get(name);
  }
}

function topicIds(partitions: readonly AssignedPartition[]): ReadonlyMap<string, string> {
  return new Map(partitions.map((partition) => [partitionName(partition), partition.topicId]));
}
