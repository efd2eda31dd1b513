import type { DriverConsumerOptions, GroupAssigner, GroupMembership } from '../../driver/driver.js';
import { ConnectionClosedError, InvalidOptionError, StaleMemberError } from '../../errors/errors.js';
import type { TopicPartition } from '../../messages/record.js';
import type { Timer } from '../../runtime/clock.js';
import type { Cluster } from './cluster.js';
import type { Connection } from './connection.js';
import type { GroupRefusal, Joined } from './group-protocol.js';
import type { GroupAssignment } from './group.js';
import { type CommitOffset, staleMember } from './group-coordinator.js';
import { readable, roundRobinAssigner } from './round-robin-assigner.js';
import { Subscription } from './subscription.js';

// How soon metadata is asked for again while a topic is missing or the last request for it failed.
const METADATA_RETRY_MS = 1000;

/** `rebalance`: the group waits for this member to join again. `lost`: it goes on without this member. */
export type SessionInterruption = 'rebalance' | 'lost';

/** The client's side of a group membership: joins, heartbeats, commits, metadata. One generation after the other. */
export class GroupSession {
  readonly subscription: Subscription;
  readonly #assigners: readonly GroupAssigner[];
  readonly #heartbeatInterval: number;
  readonly #rebalanceTimeout: number;
  #memberId = '';
  #membership: GroupMembership | undefined;
  #member = false;
  #closed = false;
  #heartbeatTimer: Timer | undefined;
  #metadataTimer: Timer | undefined;

  constructor(
    private readonly cluster: Cluster,
    private readonly connection: Connection,
    private readonly options: DriverConsumerOptions,
    private readonly onInterruption: (interruption: SessionInterruption) => void,
    private readonly onHeartbeat: () => void,
  ) {
    this.subscription = new Subscription(connection, cluster.topics, options.topics);
    this.#assigners = options.assigners?.length ? options.assigners : [roundRobinAssigner];
    this.#heartbeatInterval = options.heartbeatInterval ?? 3000;
    this.#rebalanceTimeout = options.rebalanceTimeout ?? 60_000;
  }

  get memberId(): string | undefined {
    return this.#memberId || undefined;
  }

  get membership(): GroupMembership | undefined {
    return this.#membership;
  }

  /** Joins the group's next generation and resolves to this member's share. */
  async join(): Promise<readonly TopicPartition[]> {
    for (;;) {
      this.#throwIfClosed();
      await this.subscription.refresh();
      this.#memberId ||= await this.#ask('a registration', (group) => group.register());
      this.#throwIfClosed();
      const joined = await this.#join(this.subscription.topics);
      if (typeof joined === 'string') {
        this.#turnedDown(joined);
        continue;
      }
      const { generationId } = joined;
      const memberId = this.#memberId;
      this.#membership = { groupId: this.options.groupId, memberId, generationId };
      const assignment = joined.members && (await this.#assign(joined));
      const share = await this.#ask(
        'a sync',
        (group) => group.sync(memberId, generationId, assignment),
        this.#patience,
      );
      if (typeof share === 'string') {
        this.#turnedDown(share);
        continue;
      }
      this.#member = true;
      this.#heartbeatLater();
      this.#metadataLater();
      const partitions = readable(share, byTopic(this.subscription.current));
      this.#assigner(joined.protocol).assigned?.(partitions);
      return partitions;
    }
  }

  /** From here on nothing is committed any more until the next `join`. */
  endGeneration(): void {
    this.#member = false;
    this.cluster.clock.clearTimeout(this.#heartbeatTimer);
    this.cluster.clock.clearTimeout(this.#metadataTimer);
  }

  /** Leaves the group; a `join` under way rejects. A coordinator that can't be reached notices by itself. */
  async close(): Promise<void> {
    this.#closed = true;
    this.halt();
    const memberId = this.#memberId;
    if (memberId === '') return;
    this.#memberId = '';
    await this.#ask('a leave', (group) => group.remove(memberId)).catch(() => {});
  }

  /** Stops all timers, without a word to anybody. */
  halt(): void {
    this.endGeneration();
  }

  async heartbeat(): Promise<void> {
    const refusal = await this.#beat();
    if (refusal) throw staleMember(this.options.groupId, this.#memberId, refusal);
  }

  async confirm(): Promise<boolean> {
    return this.#member && (await this.#beat()) === undefined;
  }

  async commit(offsets: readonly CommitOffset[]): Promise<void> {
    const membership = this.#membership;
    const { groupId } = this.options;
    if (!this.#member || !membership) throw staleMember(groupId, this.#memberId, 'unknown-member');
    try {
      await this.connection.request('a commit', () =>
        this.cluster.faults.onCommit(groupId, offsets, () =>
          this.cluster.coordinator.commit(groupId, offsets, membership),
        ),
      );
    } catch (error) {
      if (error instanceof StaleMemberError) this.#lose(membership);
      throw error;
    }
  }

  /** Looks for topics and partitions that came or went; a change leads to a rebalance. */
  async refreshMetadata(): Promise<void> {
    const membership = this.#membership;
    try {
      const changed = await this.subscription.refresh();
      if (changed && this.#isCurrent(membership)) this.onInterruption('rebalance');
      if (this.#isCurrent(membership)) this.#metadataLater();
    } catch {
      if (this.#isCurrent(membership)) this.#metadataLater(METADATA_RETRY_MS);
    }
  }

  /** What the coordinator may take to answer a join or a sync: it waits for all other members. */
  get #patience(): number {
    return this.#rebalanceTimeout + this.cluster.requestTimeout;
  }

  #ask<T>(
    what: string,
    work: (group: ReturnType<Cluster['coordinator']['group']>) => T | Promise<T>,
    timeout?: number,
  ): Promise<T> {
    return this.connection.request(
      `${what} for group "${this.options.groupId}"`,
      () => work(this.cluster.coordinator.group(this.options.groupId)),
      timeout,
    );
  }

  #join(topics: readonly string[]): Promise<Joined | GroupRefusal> {
    const protocols = this.#assigners.map((assigner) => {
      const userData = assigner.userData(topics);
      return { name: assigner.name, topics, userData: userData && Buffer.from(userData) };
    });
    const request = {
      memberId: this.#memberId,
      sessionTimeout: this.options.sessionTimeout ?? 30_000,
      rebalanceTimeout: this.#rebalanceTimeout,
      protocols,
    };
    return this.#ask('a join', (group) => group.join(request), this.#patience);
  }

  async #assign({ members = [], protocol }: Joined): Promise<GroupAssignment> {
    const wanted = new Set(members.flatMap(({ topics }) => topics));
    const topics = await this.connection.request('a metadata request', () =>
      this.cluster.topics.describe(wanted),
    );
    const shares = this.#assigner(protocol).assign(members, byTopic(topics));
    return new Map([...shares].map(([memberId, share]) => [memberId, [...share]]));
  }

  #assigner(name: string): GroupAssigner {
    return this.#assigners.find((assigner) => assigner.name === name)!;
  }

  #turnedDown(refusal: GroupRefusal): void {
    this.#throwIfClosed();
    if (refusal === 'unknown-member') this.#memberId = '';
    if (refusal !== 'inconsistent-protocol') return;
    const names = this.#assigners.map(({ name }) => `"${name}"`).join(', ');
    throw new InvalidOptionError(
      'assigners',
      `offers ${names}, but group "${this.options.groupId}" has members that know none of them`,
    );
  }

  async #beat(): Promise<GroupRefusal | undefined> {
    const membership = this.#membership;
    if (!this.#member || !membership) return 'unknown-member';
    const { memberId, generationId } = membership;
    const refusal = await this.#ask('a heartbeat', (group) => group.heartbeat(memberId, generationId));
    if (refusal === undefined || refusal === 'rebalance-in-progress') {
      this.onHeartbeat();
      if (refusal && this.#isCurrent(membership)) this.onInterruption('rebalance');
      return undefined;
    }
    this.#lose(membership);
    return refusal;
  }

  #lose(membership: GroupMembership): void {
    if (!this.#isCurrent(membership)) return;
    this.endGeneration();
    this.#memberId = '';
    this.onInterruption('lost');
  }

  // What an answer says about an earlier generation says nothing about this one.
  #isCurrent(membership: GroupMembership | undefined): boolean {
    return this.#member && membership === this.#membership;
  }

  #heartbeatLater(): void {
    this.cluster.clock.clearTimeout(this.#heartbeatTimer);
    this.#heartbeatTimer = this.cluster.clock.setTimeout(
      () => void this.#heartbeatRound(),
      this.#heartbeatInterval,
    );
  }

  async #heartbeatRound(): Promise<void> {
    const membership = this.#membership;
    // A coordinator that does not answer is asked again at the next interval.
    await this.#beat().catch(() => {});
    if (this.#isCurrent(membership)) this.#heartbeatLater();
  }

  #metadataLater(delay?: number): void {
    const age = this.options.metadataMaxAge ?? 300_000;
    const soon = this.subscription.missing.length > 0 ? Math.min(age, METADATA_RETRY_MS) : age;
    this.cluster.clock.clearTimeout(this.#metadataTimer);
    this.#metadataTimer = this.cluster.clock.setTimeout(() => void this.refreshMetadata(), delay ?? soon);
  }

  #throwIfClosed(): void {
    if (this.#closed) {
      throw new ConnectionClosedError(
        `The consumer of group "${this.options.groupId}" was stopped while joining`,
      );
    }
  }
}

function byTopic(
  topics: readonly { readonly topic: string; readonly partitions: readonly number[] }[],
): Map<string, readonly number[]> {
  return new Map(topics.map(({ topic, partitions }) => [topic, partitions]));
}
