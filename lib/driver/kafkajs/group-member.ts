/**
 * Membership in a consumer group by the classic protocol. Heartbeats run on a timer of their own, whatever fetching
 * and handlers do; what we hold is given up, awaited, before we rejoin; every failure ends in another join.
 */
import { BrokerUnreachableError, StaleMemberError } from '../../errors/errors.js';
import { partitionName, type TopicPartition } from '../../messages/record.js';
import { sleep, type Clock } from '../../runtime/clock.js';
import { deferred, type Deferred } from '../../runtime/deferred.js';
import type { Log } from '../../runtime/log.js';
import type { ConsumerStatus, GroupMembership, RevocationReason } from '../driver.js';
import { decodeAssignment, subscribedTopics, type ProtocolAssigner } from './assigner.js';
import type { Connections } from './connections.js';
import { Coordinator, hasMoved } from './coordinator.js';
import { commitError, isFatal, isStale, memberError, text } from './errors.js';
import { HEARTBEAT, JOIN_GROUP, SYNC_GROUP, type Joined } from './group-requests.js';
import { Heartbeats } from './heartbeats.js';
import { changeState, type MemberState } from './member-state.js';
import { OFFSET_COMMIT, type CommittedPartition } from './offset-requests.js';
import { ProtocolError, protocolType } from './protocol-error.js';

export interface MemberOptions {
  readonly groupId: string;
  readonly sessionTimeout: number;
  readonly rebalanceTimeout: number;
  readonly heartbeatInterval: number;
  readonly assigners: readonly ProtocolAssigner[];
}

export interface Generation extends GroupMembership {
  readonly leaderId: string;
  readonly isLeader: boolean;
  readonly protocol: string;
  readonly partitions: readonly TopicPartition[];
  /** On the leader: what all members subscribe to. */
  readonly groupTopics: readonly string[];
  /** Milliseconds that the join took. */
  readonly duration: number;
}

export interface MemberHooks {
  /** Before each join: what to subscribe to. */
  topics(): Promise<readonly string[]>;
  /** On the leader: the partitions of each topic that exists. */
  partitions(topics: readonly string[]): Promise<ReadonlyMap<string, readonly number[]>>;
  /** `ended` settles when the generation is over while this still runs. */
  assigned(generation: Generation, ended: Promise<unknown>): Promise<void>;
  revoked(reason: RevocationReason): Promise<void>;
  status(status: ConsumerStatus, detail?: string): void;
  heartbeat(membership: GroupMembership): void;
}

/** Answers after which the next join is due at once. */
const REJOIN = new Set([
  'REBALANCE_IN_PROGRESS',
  'ILLEGAL_GENERATION',
  'UNKNOWN_MEMBER_ID',
  'MEMBER_ID_REQUIRED',
]);
const FIRST_BACKOFF = 100;
const LONGEST_BACKOFF = 2_000;
/** How long the first join is tried before `start` rejects. */
const START_PATIENCE = 30_000;

export class GroupMember {
  private state: MemberState = 'unjoined';
  /** As the coordinator names us; empty before it did. Ours to change. */
  memberId = '';
  private generation: Generation | undefined;
  private ended: Deferred<RevocationReason> | undefined;
  private readonly coordinator: Coordinator;
  /** Rejects once the coordinator was told, in the middle of a join, that we leave. */
  private readonly gone = deferred<never>();
  private heartbeats: Heartbeats | undefined;
  private leaving = false;
  private readonly abort = new AbortController();
  private readonly started = deferred();
  private hasStarted = false;
  private loop: Promise<void> | undefined;

  constructor(
    connections: Connections,
    private readonly options: MemberOptions,
    private readonly hooks: MemberHooks,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.coordinator = new Coordinator(connections, options.groupId, clock, log);
    this.gone.promise.catch(() => undefined);
  }

  /** Resolves after the first assignment; rejects if the first join can't succeed. */
  start(): Promise<void> {
    const deadline = this.clock.monotonic() + START_PATIENCE;
    this.loop = this.run(deadline);
    return this.started.promise;
  }

  /** Lets go of everything (awaited) and leaves. Idempotent. */
  async leave(): Promise<void> {
    this.leaving = true;
    this.abort.abort();
    this.ended?.resolve('revoked');
    // A join can wait for other members as long as the rebalance timeout, and so can a sync.
    if ((this.state === 'joining' || this.state === 'syncing') && this.memberId) {
      await this.sendLeave('control');
      this.gone.reject(new BrokerUnreachableError('The consumer left its group'));
    }
    await this.loop;
    await this.sendLeave('coordinator');
  }

  get membership(): GroupMembership | undefined {
    return this.generation;
  }

  get isLeader(): boolean {
    return this.generation?.isLeader ?? false;
  }

  get groupTopics(): readonly string[] {
    return this.generation?.groupTopics ?? [];
  }

  /** By our own clock: whether the broker can't have given us up yet. */
  get isAlive(): boolean {
    if (!this.isHolding) return false;
    if (!this.heartbeats?.isSessionOver) return true;
    this.end('lost');
    return false;
  }

  /** Gives up what is held and joins again. */
  rejoin(): void {
    this.end('revoked');
  }

  async commit(offsets: readonly CommittedPartition[]): Promise<void> {
    if (offsets.length === 0) return;
    const generation = this.current('An offset commit');
    for (let attempt = 0; ; attempt++) {
      try {
        const results = await this.coordinator.send(OFFSET_COMMIT, { ...generation, offsets });
        const failed = results.find(({ errorCode }) => errorCode !== 0);
        if (!failed) return;
        throw new ProtocolError(failed.errorCode, `an offset commit for ${partitionName(failed)}`);
      } catch (error) {
        if (attempt === 0 && hasMoved(error)) continue;
        this.noticeStale(error, generation);
        throw commitError(error);
      }
    }
  }

  /** A heartbeat now. A rebalance that is under way is no failure: we are a member until we rejoin. */
  async heartbeat(): Promise<void> {
    const generation = this.current('A heartbeat');
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.beat(generation);
      } catch (error) {
        if (attempt === 0 && hasMoved(error)) continue;
        throw memberError(error, 'A heartbeat');
      }
    }
  }

  async confirm(): Promise<boolean> {
    try {
      await this.heartbeat();
      return true;
    } catch (error) {
      if (error instanceof StaleMemberError) return false;
      throw error;
    }
  }

  private get isHolding(): boolean {
    return this.state === 'stable' || this.state === 'revoking';
  }

  private current(what: string): Generation {
    if (this.isHolding && this.generation) return this.generation;
    throw new StaleMemberError(
      `${what} was refused: this consumer is not a member of "${this.options.groupId}" now`,
    );
  }

  private to(next: MemberState): void {
    this.state = changeState(this.state, next);
  }

  private async run(deadline: number): Promise<void> {
    let failures = 0;
    while (!this.leaving) {
      try {
        const generation = await this.join();
        await this.hold(generation);
        failures = 0;
      } catch (error) {
        if (this.leaving) break;
        this.to('waiting');
        if (protocolType(error) === 'UNKNOWN_MEMBER_ID' && this.memberId !== '') {
          this.memberId = ''; // forgotten meanwhile: join at once, as somebody new
          continue;
        }
        failures++;
        if (!this.hasStarted && (isFatal(error) || this.clock.monotonic() > deadline)) {
          this.leaving = true;
          this.started.reject(memberError(error, `Joining the group "${this.options.groupId}"`));
          break;
        }
        if (failures <= 3 && REJOIN.has(protocolType(error) ?? '')) continue;
        await this.backOff(failures, error);
      }
    }
    this.to('left');
    this.started.reject(new BrokerUnreachableError('The consumer was stopped before it had joined'));
    this.started.promise.catch(() => undefined);
  }

  private async backOff(failures: number, error: unknown): Promise<void> {
    const longest = Math.min(FIRST_BACKOFF * 2 ** (failures - 1), LONGEST_BACKOFF);
    const wait = Math.ceil(longest * (0.5 + this.clock.random() / 2));
    this.log.warn(`Consumer of "${this.options.groupId}" rejoins in ${wait} ms: ${text(error)}`);
    this.hooks.status(isFatal(error) ? 'crashed' : 'disconnected', text(error));
    await sleep(this.clock, wait, this.abort.signal);
  }

  private async join(): Promise<Generation> {
    const { groupId, sessionTimeout, rebalanceTimeout, assigners } = this.options;
    const startedAt = this.clock.monotonic();
    this.to('joining');
    const topics = await this.hooks.topics();
    const input = {
      groupId,
      sessionTimeout,
      rebalanceTimeout,
      protocols: assigners.map((assigner) => ({ name: assigner.name, metadata: assigner.metadata(topics) })),
    };
    this.throwIfLeaving();
    let joined = await this.unlessGone(
      this.coordinator.send(JOIN_GROUP, { ...input, memberId: this.memberId }),
    );
    if (joined.memberIdRequired) {
      this.memberId = joined.memberId;
      this.throwIfLeaving();
      joined = await this.unlessGone(
        this.coordinator.send(JOIN_GROUP, { ...input, memberId: this.memberId }),
      );
    }
    this.memberId = joined.memberId;
    this.to('syncing');
    this.throwIfLeaving();

    const assigner = assigners.find(({ name }) => name === joined.protocol) ?? assigners[0]!;
    const isLeader = joined.leaderId === joined.memberId;
    const groupTopics = isLeader ? subscribedTopics(joined.members) : [];
    const assignments = isLeader ? await this.assign(assigner, joined, groupTopics, topics) : [];
    const { generationId, memberId, leaderId } = joined;
    const sentAt = this.clock.monotonic();
    const sync = { groupId, generationId, memberId, assignments, timeout: rebalanceTimeout };
    const bytes = await this.unlessGone(this.coordinator.send(SYNC_GROUP, sync));
    this.throwIfLeaving();
    const partitions = decodeAssignment(bytes).filter(({ topic }) => topics.includes(topic));
    const generation: Generation = {
      groupId,
      generationId,
      memberId,
      leaderId,
      isLeader,
      protocol: joined.protocol,
      partitions,
      groupTopics,
      duration: this.clock.monotonic() - startedAt,
    };
    assigner.assigned(partitions);
    this.generation = generation;
    this.heartbeats = this.heartbeatsOf(generation, sentAt);
    this.to('stable');
    return generation;
  }

  private async assign(
    assigner: ProtocolAssigner,
    { members }: Joined,
    groupTopics: readonly string[],
    ownTopics: readonly string[],
  ): Promise<{ memberId: string; assignment: Buffer }[]> {
    return assigner.assign(members, await this.hooks.partitions(groupTopics), ownTopics);
  }

  private async hold(generation: Generation): Promise<void> {
    const ended = (this.ended = deferred<RevocationReason>());
    if (this.leaving) ended.resolve('revoked');
    this.heartbeats?.start();
    let reason: RevocationReason = 'revoked';
    try {
      // A listener that hangs must not hold up a rebalance for longer than the group waits.
      const assigned = this.hooks.assigned(generation, ended.promise);
      await Promise.race([assigned, ended.promise]);
      await this.bounded(assigned);
      this.heartbeats?.assumeReachable();
      this.hasStarted = true;
      this.started.resolve();
      reason = await ended.promise;
    } finally {
      this.to('revoking');
      if (!this.leaving) this.hooks.status('rebalancing', reason);
      await this.bounded(this.hooks.revoked(reason));
      this.ended = undefined;
      this.heartbeats?.stop();
    }
  }

  /** Waits no longer than the group waits for us in a rebalance. */
  private async bounded(work: Promise<void>): Promise<void> {
    const settled = new AbortController();
    const watched = work.finally(() => settled.abort());
    await Promise.race([watched, sleep(this.clock, this.options.rebalanceTimeout, settled.signal)]);
    watched.catch((error: unknown) => this.log.warn(`After the rebalance timeout: ${text(error)}`));
  }

  private end(reason: RevocationReason): void {
    this.ended?.resolve(reason);
  }

  private heartbeatsOf(generation: Generation, joinedAt: number): Heartbeats {
    const hooks = {
      beat: () => this.beat(generation),
      expired: () => this.end('lost'),
      reachable: (isReachable: boolean, problem?: string) => {
        if (isReachable) this.hooks.status('connected');
        else if (!this.leaving) this.hooks.status('disconnected', problem);
      },
    };
    return new Heartbeats(this.options, joinedAt, hooks, this.clock);
  }

  private async beat(generation: Generation): Promise<void> {
    const sentAt = this.clock.monotonic();
    try {
      await this.coordinator.send(HEARTBEAT, generation);
    } catch (error) {
      this.noticeStale(error, generation);
      if (protocolType(error) !== 'REBALANCE_IN_PROGRESS') throw error;
      if (generation === this.generation) this.end('revoked');
    }
    if (generation === this.generation) this.heartbeats?.taken(sentAt);
    this.hooks.heartbeat(generation);
  }

  private noticeStale(error: unknown, generation: Generation): void {
    if (!isStale(error) || generation !== this.generation) return;
    if (protocolType(error) === 'UNKNOWN_MEMBER_ID') this.memberId = '';
    this.end('lost');
  }

  private async sendLeave(purpose: 'control' | 'coordinator'): Promise<void> {
    const { memberId } = this;
    this.memberId = '';
    if (memberId) await this.coordinator.leave(memberId, purpose);
  }

  /** A broker need not answer the sync of a member that left meanwhile. */
  private unlessGone<T>(answer: Promise<T>): Promise<T> {
    return Promise.race([answer, this.gone.promise]);
  }

  private throwIfLeaving(): void {
    if (this.leaving) throw new BrokerUnreachableError('The consumer is being stopped');
  }
}
