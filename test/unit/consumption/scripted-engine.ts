import { DEFAULT_PARKING } from '../../../lib/consumption/parking-policy.js';
import {
  succeeded,
  type Attempt,
  type AttemptResult,
  type Delivery,
  type DeliveryHandler,
  type Route,
} from '../../../lib/consumption/attempt.js';
import type { EngineOptions, EnginePorts, GroupBounds } from '../../../lib/consumption/engine-context.js';
import type { FailureClass } from '../../../lib/consumption/decision.js';
import type { AfterCommit, Ending, GroupResource } from '../../../lib/consumption/group.js';
import { RecordConsumer } from '../../../lib/consumption/record-consumer.js';
import type { AssignedPartition, ConsumerListener, DriverConsumer } from '../../../lib/driver/driver.js';
import { FencedError } from '../../../lib/errors/errors.js';
import { isInfrastructureError } from '../../../lib/errors/infrastructure.js';
import { partitionName, type KafkaRecord, type PartitionOffset } from '../../../lib/messages/record.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { RecordingLogger } from '../../support/recording-logger.js';

export class TerminalError extends Error {}

/** A driver's consumer that does what a test says, and keeps what the engine asks of it. */
export class ScriptedConsumer implements DriverConsumer {
  /** Commits since the last assignment. */
  readonly commits: PartitionOffset[][] = [];
  /** Commits up to then. */
  readonly starts: PartitionOffset[] = [];
  readonly paused = new Set<string>();
  readonly sought: bigint[] = [];
  pauses = 0;
  member: boolean | 'unknown' = true;
  confirmations = 0;
  /** Run at each commit, before it counts. */
  beforeCommit: (offsets: readonly PartitionOffset[]) => Promise<void> = () => Promise.resolve();
  readonly memberId = undefined;
  readonly membership = undefined;
  readonly native = undefined;
  private listener: ConsumerListener | undefined;
  private assigned: AssignedPartition[] = [];
  private rebalances = 0;

  async start(listener: ConsumerListener): Promise<void> {
    this.listener = listener;
  }

  async stop(): Promise<void> {
    await this.revoke();
  }

  async assign(...partitions: Partial<AssignedPartition>[]): Promise<AssignedPartition[]> {
    this.rebalances++;
    this.assigned = partitions.map((partition, index) => ({
      topic: 't',
      topicId: '00000000-0000-0000-0000-000000000000',
      partition: index,
      startOffset: 0n,
      rebalanceId: this.rebalances,
      ...partition,
    }));
    this.paused.clear();
    await this.listener!.onAssigned(this.assigned);
    // Where an assignment starts is stored too: tests look at what comes after it.
    this.starts.push(...this.commits.splice(0).flat());
    return this.assigned;
  }

  async revoke(reason: 'revoked' | 'lost' = 'revoked'): Promise<void> {
    const leaving = this.assigned.splice(0);
    await this.listener?.onRevoked(leaving, reason);
  }

  deliver(partition: AssignedPartition, records: readonly KafkaRecord[]): void {
    this.listener!.onRecords(partition, records);
  }

  pause(partitions: readonly { topic: string; partition: number }[]): void {
    this.pauses++;
    for (const partition of partitions) this.paused.add(partitionName(partition));
  }

  resume(partitions: readonly { topic: string; partition: number }[]): void {
    for (const partition of partitions) this.paused.delete(partitionName(partition));
  }

  seek({ offset }: { readonly offset: bigint }): void {
    this.sought.push(offset);
  }

  async commit(offsets: readonly PartitionOffset[]): Promise<void> {
    await this.beforeCommit(offsets);
    this.commits.push([...offsets]);
  }

  async heartbeat(): Promise<void> {}

  async confirmMembership(): Promise<boolean> {
    this.confirmations++;
    if (this.member === 'unknown') throw new Error('the coordinator does not answer');
    return this.member;
  }

  endOfEpoch(): Promise<bigint | undefined> {
    return Promise.resolve(undefined);
  }

  /** The last committed offset of a partition. */
  committed(partition = 0): bigint | undefined {
    return this.commits
      .flat()
      .filter((offset) => offset.partition === partition)
      .at(-1)?.offset;
  }
}

/** A transaction of plain values: what is written shows up in `store` when the group commits. */
export class ScriptedResource implements GroupResource {
  readonly isolates = false;
  readonly preparation = 0;
  private readonly writes = new Map<Delivery, string[]>();
  rolledBack = false;

  constructor(private readonly world: ScriptedEngine) {
    world.resources.push(this);
  }

  write(delivery: Delivery, text: string): void {
    const written = this.writes.get(delivery);
    if (written) written.push(text);
    else this.writes.set(delivery, [text]);
  }

  isOver({ record }: Delivery): boolean {
    return this.world.over.has(record.offset);
  }

  async commit(attempts: readonly Attempt[]): Promise<AfterCommit | undefined> {
    await this.world.beforeCommit(attempts);
    this.world.groups.push(attempts.map(({ delivery }) => delivery.record.offset));
    for (const { delivery } of attempts) this.world.store.push(...(this.writes.get(delivery) ?? []));
    return this.world.afterCommit;
  }

  doneBelow(offset: bigint): void {
    this.world.doneBelow.push(offset);
  }

  async rollback(): Promise<void> {
    this.rolledBack = true;
    await this.world.beforeRollback();
  }

  async conclude(attempt: Attempt, ending: Ending): Promise<AfterCommit | undefined> {
    await this.world.beforeConclude();
    this.world.endings.push(`${attempt.delivery.record.offset} ${ending.state} ${ending.reason}`);
    return undefined;
  }

  async noteFailure({ delivery }: Attempt): Promise<void> {
    this.world.noted.push(`${delivery.record.offset} ${delivery.failures}`);
  }

  probe(): Promise<void> {
    return this.world.probe();
  }
}

export type Behaviour = (attempt: Attempt, write: (text: string) => void) => unknown;

/** The engine over a scripted driver, with handlers that are plain functions. */
export class ScriptedEngine {
  readonly consumer = new ScriptedConsumer();
  readonly log = new RecordingLogger();
  /** Committed writes in order. */
  readonly store: string[] = [];
  /** Offsets of failures that are to survive, with their counts. */
  readonly noted: string[] = [];
  /** Offsets of each group that committed. */
  readonly groups: bigint[][] = [];
  readonly endings: string[] = [];
  /** Offsets that were handled before, as resources know. */
  readonly over = new Set<bigint>();
  /** What resources were told of the offset that the broker has. */
  readonly doneBelow: bigint[] = [];
  readonly resources: ScriptedResource[] = [];
  readonly published: string[] = [];
  beforeCommit: (attempts: readonly Attempt[]) => Promise<void> = () => Promise.resolve();
  beforeRollback: () => Promise<void> = () => Promise.resolve();
  beforeConclude: () => Promise<void> = () => Promise.resolve();
  /** As `beforeConclude`, where nothing is enlisted. */
  beforeEnding: () => Promise<void> = () => Promise.resolve();
  afterCommit: AfterCommit | undefined;
  probe: () => Promise<void> = () => Promise.resolve();
  followLostEnd: () => Promise<void> = () => Promise.resolve();
  publish: EnginePorts['publish'] = (_delivery, reply) => {
    this.published.push(String(reply.value));
    return Promise.resolve(true);
  };
  readonly records: RecordConsumer;

  constructor(
    behaviours: Behaviour | readonly Behaviour[],
    {
      enlisted = true,
      kind = 'event',
      hasDeadLetterTopic = false,
      clock = systemClock,
      ...options
    }: Partial<EngineOptions> &
      Partial<Pick<EnginePorts, 'clock' | 'hasDeadLetterTopic'>> & {
        enlisted?: boolean;
        kind?: Route['kind'];
      } = {},
  ) {
    const routes = [behaviours].flat().map((behaviour, index): Route => ({
      handler: this.handler(`handler ${index}`, behaviour, enlisted),
      kind,
    }));
    this.records = new RecordConsumer(
      this.consumer,
      {
        options: {
          concurrency: 8,
          ordering: 'partition',
          groupCommit: bounds(64, 10_000),
          retry: { attempts: 3, initial: 1, factor: 1, max: 1, jitter: false },
          onExhausted: undefined,
          parking: DEFAULT_PARKING,
          handlerTimeout: undefined,
          shutdownTimeout: 5_000,
          revocationTimeout: 5_000,
          commitOffsets: true,
          commitInterval: 5,
          commitThreshold: Infinity,
          maxHeldRecords: 2_000,
          maxHeldBytes: 8_000_000,
          maxUncommitted: 100_000,
          ...options,
        },
        clock,
        log: this.log,
        publish: (delivery, reply) => this.publish(delivery, reply),
        route: () => routes,
        classify,
        errorReply: (error) => ({ key: null, value: Buffer.from(`error ${String(error)}`), headers: [] }),
        hasDeadLetterTopic,
        groupId: 'group',
        beforeReading: () => Promise.resolve(),
        followLostEnd: () => this.followLostEnd(),
        produce: (record) => Promise.resolve({ topic: record.topic, partition: 0, offset: 0n }),
        deadLetter: () => undefined,
        reasonOf: () => 'terminal',
        concludeWithoutResource: async (attempt, ending) => {
          await this.beforeEnding();
          this.endings.push(`${attempt.delivery.record.offset} ${ending.state} ${ending.reason}`);
          return undefined;
        },
      },
      { onStatus: () => undefined },
    );
  }

  /** Starts with `partitions` partitions; resolves with them. */
  async start(partitions = 1): Promise<AssignedPartition[]> {
    await this.records.start();
    return this.consumer.assign(...Array.from({ length: partitions }, () => ({})));
  }

  private handler(name: string, behaviour: Behaviour, enlisted: boolean): DeliveryHandler {
    return {
      name,
      run: (attempt, end) => void this.run(attempt, behaviour, enlisted).then(end),
    };
  }

  private async run(attempt: Attempt, behaviour: Behaviour, enlisted: boolean): Promise<AttemptResult> {
    const resource = enlisted ? attempt.group.enlist(attempt, () => new ScriptedResource(this)) : undefined;
    try {
      await behaviour(attempt, (text) =>
        resource ? resource.write(attempt.delivery, text) : void this.store.push(text),
      );
      return succeeded;
    } catch (error) {
      if (resource) attempt.thrown = { error };
      return { failed: true, error };
    }
  }
}

export function classify(error: unknown): FailureClass {
  if (error instanceof FencedError) return 'fenced';
  if (error instanceof TerminalError) return 'terminal';
  return isInfrastructureError(error) ? 'infrastructure' : 'retryable';
}

export function bounds(maxRecords: number, maxMillis: number, concurrent = false): GroupBounds {
  return { maxRecords, maxMillis, stretchedMillis: maxMillis, concurrent };
}

/** Records of a partition, from `first` on. */
export function recordsOf(partition: AssignedPartition, count: number, first = 0): KafkaRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    topic: partition.topic,
    partition: partition.partition,
    offset: BigInt(first + index),
    timestamp: 0,
    key: null,
    value: Buffer.from(`${first + index}`),
    headers: [],
  }));
}
