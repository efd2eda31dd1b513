import type {
  AssignedPartition,
  ConsumerListener,
  ConsumerStatus,
  DriverConsumer,
  DriverConsumerOptions,
  GroupMembership,
  RevocationReason,
} from '../../driver/driver.js';
import { ConnectionClosedError, TopicMissingError, WrongCallOrderError } from '../../errors/errors.js';
import type { PartitionOffset, TopicPartition } from '../../messages/record.js';
import { sleep } from '../../runtime/clock.js';
import { type Deferred, deferred } from '../../runtime/deferred.js';
import type { Cluster } from './cluster.js';
import { Connection } from './connection.js';
import { GroupSession, type SessionInterruption } from './group-session.js';
import { staleMember } from './group-coordinator.js';
import { assignmentOf, NativeConsumer } from './native-consumer.js';
import { PartitionReader, type ReaderEvents } from './partition-reader.js';

const FIRST_BACKOFF_MS = 300;
const LAST_BACKOFF_MS = 30_000;

/** A member of a group of the in-memory cluster. One loop joins, reads until something interrupts, revokes, rejoins. */
export class InMemoryConsumer implements DriverConsumer {
  readonly native: NativeConsumer;
  // Kafka's coordinator and partition leaders are different machines: neither waits for the other.
  readonly #coordination: Connection;
  readonly #fetching: Connection;
  #session: GroupSession;
  #listener: ConsumerListener | undefined;
  #reader: PartitionReader | undefined;
  #run: Promise<void> | undefined;
  #stop: Promise<void> | undefined;
  #stopping = new AbortController();
  #wake: Deferred<void> = deferred();
  #interrupted = false;
  #lost = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    private readonly cluster: Cluster,
    private readonly options: DriverConsumerOptions,
  ) {
    this.#coordination = new Connection(cluster.broker, cluster.clock);
    this.#fetching = new Connection(cluster.broker, cluster.clock);
    this.native = new NativeConsumer(this, cluster.clock, () => this.#reader);
    this.#session = this.#newSession();
  }

  get memberId(): string | undefined {
    return this.#session.memberId;
  }

  get membership(): GroupMembership | undefined {
    return this.#session.membership;
  }

  /** @throws WrongCallOrderError on a consumer that runs or was stopped. After a start that failed it may be tried again. */
  async start(listener: ConsumerListener): Promise<void> {
    if (this.#run || this.#stop) {
      throw new WrongCallOrderError(
        `The consumer of group "${this.options.groupId}" was started before. Create a new one.`,
      );
    }
    this.#listener = listener;
    const started = deferred();
    this.#run = this.#live(listener, started);
    await started.promise;
  }

  stop(): Promise<void> {
    this.#stop ??= this.#close();
    return this.#stop;
  }

  pause(partitions: readonly TopicPartition[]): void {
    this.#reader?.pause(partitions);
  }

  resume(partitions: readonly TopicPartition[]): void {
    this.#reader?.resume(partitions);
  }

  seek(position: PartitionOffset): void {
    this.#reader?.seek(position);
  }

  /** Also rejects with `StaleMemberError` for a partition that this member does not hold. */
  async commit(offsets: readonly PartitionOffset[]): Promise<void> {
    if (this.#dead) return silence();
    const reader = this.#reader;
    if (!reader || !offsets.every((offset) => reader.holds(offset))) {
      throw staleMember(this.options.groupId, this.membership?.memberId ?? '', 'illegal-generation');
    }
    const ids = new Map(reader.partitions.map(({ topic, topicId }) => [topic, topicId]));
    await this.#session.commit(
      offsets.map((offset) => ({
        ...{ ...offset, topicId: ids.get(offset.topic), epoch: reader.epochOf(offset) },
      })),
    );
    this.native.emit('consumer.commit_offsets', {
      groupId: this.options.groupId,
      memberId: this.membership?.memberId,
    });
  }

  heartbeat(): Promise<void> {
    return this.#dead ? silence() : this.#session.heartbeat();
  }

  confirmMembership(): Promise<boolean> {
    return this.#dead ? silence() : this.#session.confirm();
  }

  endOfEpoch({ topic, partition }: TopicPartition, leaderEpoch: number): Promise<bigint | undefined> {
    return this.#dead
      ? silence()
      : this.#fetching.request('where an epoch ends', () =>
          this.cluster.topics.get(topic)?.partitions[partition]?.endOf(leaderEpoch),
        );
  }

  /** As if this process had died. */
  crash(): void {
    this.#coordination.sever();
    this.#fetching.sever();
    this.#session.halt();
    this.#reader?.halt();
    this.#stop = Promise.resolve();
  }

  /** Never rejects; how the first round ends is told by `started`. */
  async #live(listener: ConsumerListener, started: Deferred<void>): Promise<void> {
    let joined = false;
    let backoff = FIRST_BACKOFF_MS;
    while (!this.#stopping.signal.aborted) {
      this.#wake = deferred();
      this.#interrupted = false;
      this.#lost = false;
      this.#failure = undefined;
      try {
        if (!joined) await this.#expectTopics();
        const reader = await this.#join();
        if (this.#dead) return;
        this.#status('connected');
        await listener.onAssigned(reader.partitions);
        if (this.#dead) return;
        joined = true;
        backoff = FIRST_BACKOFF_MS;
        started.resolve();
        reader.start();
        await this.#wake.promise;
      } catch (error) {
        this.#failure ??= { error };
      }
      await this.#revoke(listener);
      if (this.#dead || this.#stopping.signal.aborted) break;
      if (this.#failure) {
        if (!joined) return this.#abandonStart(started, this.#failure.error);
        this.#status('crashed', describe(this.#failure.error));
        await sleep(this.cluster.clock, backoff, this.#stopping.signal);
        backoff = Math.min(backoff * 2, LAST_BACKOFF_MS);
      }
    }
    if (!joined && !this.#dead) {
      started.reject(this.#stoppedEarly());
    }
  }

  #stoppedEarly(): ConnectionClosedError {
    return new ConnectionClosedError(
      `The consumer of group "${this.options.groupId}" was stopped while starting`,
    );
  }

  async #expectTopics(): Promise<void> {
    await this.#session.subscription.refresh();
    const missing = this.#session.subscription.missing;
    if (missing.length === 0) return;
    const names = missing.map((name) => `"${name}"`).join(', ');
    throw new TopicMissingError(
      `Group "${this.options.groupId}" can't read ${names}: no such topic. Create it first.`,
    );
  }

  async #join(): Promise<PartitionReader> {
    const share = await this.#session.join();
    const partitions = await this.#coordination.request('an offset fetch', () => this.#positions(share));
    if (this.#stopping.signal.aborted) throw this.#stoppedEarly();
    this.native.emit('consumer.group_join', {
      ...this.membership,
      memberAssignment: assignmentOf(partitions),
    });
    const { coordinator, topics } = this.cluster;
    const events: ReaderEvents = {
      onRecords: (partition, records) => this.#listener?.onRecords(partition, records),
      onOffsetOutOfRange: (...facts) => this.#listener?.onOffsetOutOfRange(...facts),
      onUnknownTopic: () => void this.#session.refreshMetadata(),
      onError: (error) => this.#fail(error),
    };
    const epochOf = ({ topic, partition }: TopicPartition) =>
      coordinator.committed(this.options.groupId, topic, partition)?.epoch;
    const reader = new PartitionReader(partitions, this.#fetching, topics, this.options, events, epochOf);
    this.#reader = reader;
    return reader;
  }

  #positions(share: readonly TopicPartition[]): AssignedPartition[] {
    const rebalanceId = this.cluster.broker.nextRebalanceId();
    const { groupId, fromBeginning } = this.options;
    return share.flatMap(({ topic: name, partition }) => {
      const topic = this.cluster.topics.get(name);
      const log = topic?.partitions[partition];
      if (!topic || !log) return [];
      const { topicId } = topic;
      const wholeLog = fromBeginning || this.#session.subscription.isLater(topicId, partition);
      const startOffset =
        this.cluster.coordinator.committed(groupId, name, partition)?.offset ??
        (wholeLog ? log.low : log.high);
      return [{ topic: name, partition, topicId, rebalanceId, startOffset }];
    });
  }

  /** Whatever topic was deleted under us is lost, even if the rest of the assignment is given up in good order. */
  async #revoke(listener: ConsumerListener): Promise<void> {
    const reader = this.#reader;
    if (reader && !this.#dead) {
      reader.halt();
      const ids = new Set(this.#session.subscription.current.map(({ topicId }) => topicId));
      const isOurs = ({ topicId }: AssignedPartition) => !this.#lost && ids.has(topicId);
      const ours = reader.partitions.filter(isOurs);
      const lost = reader.partitions.filter((partition) => !ours.includes(partition));
      await this.#tell(listener, ours, 'revoked');
      await this.#tell(listener, lost, 'lost');
    }
    this.#reader = undefined;
    this.#session.endGeneration();
  }

  async #tell(
    listener: ConsumerListener,
    partitions: readonly AssignedPartition[],
    reason: RevocationReason,
  ): Promise<void> {
    if (partitions.length === 0 || this.#dead) return;
    const { clock } = this.cluster;
    const waited = new AbortController();
    try {
      await Promise.race([
        listener.onRevoked(partitions, reason),
        sleep(clock, this.options.rebalanceTimeout ?? 60_000, waited.signal),
      ]);
    } catch (error) {
      this.#status('crashed', describe(error));
    } finally {
      waited.abort();
    }
  }

  async #abandonStart(started: Deferred<void>, error: unknown): Promise<void> {
    await this.#session.close();
    if (this.#dead) return;
    this.#session = this.#newSession();
    this.#run = undefined;
    started.reject(error);
  }

  async #close(): Promise<void> {
    if (!this.#run) return;
    this.#stopping.abort();
    this.#wake.resolve();
    // With an assignment the group is left after its revocation; without one, a join under way has to be broken off.
    if (!this.#reader) await this.#session.close();
    await this.#run;
    await this.#session.close();
    this.#status('stopped');
    this.#status('disconnected');
    this.#listener = undefined;
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#reader?.halt();
    this.#wake.resolve();
  }

  #newSession(): GroupSession {
    return new GroupSession(
      this.cluster,
      this.#coordination,
      this.options,
      (interruption) => this.#interrupt(interruption),
      () => this.native.emit('consumer.heartbeat', { ...this.membership }),
    );
  }

  // Heartbeats repeat what they have to say until this member has joined again.
  #interrupt(interruption: SessionInterruption): void {
    if (interruption === 'lost') this.#lost = true;
    if (this.#interrupted) return;
    this.#interrupted = true;
    this.#reader?.halt();
    this.#status('rebalancing');
    this.#wake.resolve();
  }

  get #dead(): boolean {
    return this.#coordination.severed;
  }

  #status(status: ConsumerStatus, detail?: string): void {
    if (this.#dead) return;
    this.native.emitStatus(status, detail);
    this.#listener?.onStatus(status, detail);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What a process that is dead gets to hear. */
function silence(): Promise<never> {
  return new Promise(() => {});
}
