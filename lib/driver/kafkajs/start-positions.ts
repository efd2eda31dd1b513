import { partitionName, type TopicPartition } from '../../messages/record.js';
import { sleep, type Clock } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type { DriverConsumerOptions } from '../driver.js';
import type { Connections } from './connections.js';
import { isFatal, isStale, text } from './errors.js';
import type { CommittedPartition } from './offset-requests.js';
import { startOffsets, type StartOffset } from './start-offsets.js';
import type { TopicIncarnations } from './topic-incarnations.js';
import type { Topology } from './topology.js';

const RETRY = 250;

/** Where a member begins to read what it was assigned. */
export class StartPositions {
  constructor(
    private readonly options: Pick<DriverConsumerOptions, 'groupId' | 'fromBeginning' | 'readUncommitted'>,
    private readonly connections: Connections,
    private readonly topology: Topology,
    private readonly incarnations: TopicIncarnations,
    private readonly commit: (offsets: readonly CommittedPartition[]) => Promise<void>,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /**
   * Of those that exist. Goes on trying for `patience` ms, or until `over` aborts: `undefined` then. What is committed in
   * a topic that is gone is replaced.
   */
  async find(
    partitions: readonly TopicPartition[],
    over: AbortSignal,
    patience: number,
  ): Promise<StartOffset[] | undefined> {
    const deadline = this.clock.monotonic() + patience;
    for (;;) {
      try {
        const offsets = await this.look(partitions);
        if (!offsets) continue;
        await this.replaceOutdated(offsets);
        return offsets;
      } catch (error) {
        if (isFatal(error) || isStale(error) || this.clock.monotonic() > deadline) throw error;
        this.log.debug(`Start offsets of "${this.options.groupId}": ${text(error)}`);
        this.topology.refreshSoon();
        await sleep(this.clock, RETRY, over);
        if (over.aborted) return undefined;
      }
    }
  }

  /** `undefined` if the topics changed meanwhile. */
  private async look(partitions: readonly TopicPartition[]): Promise<StartOffset[] | undefined> {
    const { groupId, fromBeginning, readUncommitted } = this.options;
    const offsets = await startOffsets(this.connections, this.topology, {
      groupId,
      partitions: partitions.filter((partition) => this.topology.has(partition)),
      fromBeginning: (partition) => fromBeginning || !this.incarnations.isInitial(partition),
      counts: (committed) => this.incarnations.counts(committed),
      readCommitted: !readUncommitted,
    });
    // Made anew in between: these are the offsets of two topics. Or one that was gone is back.
    if (offsets.some(({ topic, topicId }) => this.incarnations.isAnother(topic, topicId))) return undefined;
    const present = partitions.filter((partition) => this.topology.has(partition));
    return offsets.length < present.length ? undefined : offsets;
  }

  /** What is committed for a topic made anew counts in the old one; whoever reads it next must not start there. */
  private async replaceOutdated(offsets: readonly StartOffset[]): Promise<void> {
    const replaced = offsets.filter(({ outdated }) => outdated !== undefined);
    await this.commit(
      replaced.map(({ topic, partition, offset, topicId }) => ({
        ...{ topic, partition, offset, metadata: this.incarnations.mark(topicId) },
      })),
    );
    for (const { topic, partition, offset, outdated = -1n } of replaced) {
      if (outdated < 0n) continue;
      this.log.warn(
        `"${topic}" was deleted and made anew: group "${this.options.groupId}" reads ` +
          `${partitionName({ topic, partition })} from its first record at ${offset}, not from ${outdated}, which was ` +
          'committed before',
      );
    }
  }
}
