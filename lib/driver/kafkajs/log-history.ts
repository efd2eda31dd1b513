import { partitionName, type TopicPartition } from '../../messages/record.js';
import type { Connections } from './connections.js';
import { OFFSET_FOR_LEADER_EPOCH } from './leader-epoch-request.js';
import { ProtocolError } from './protocol-error.js';
import type { Topology } from './topology.js';

/** Where nothing is known of leader epochs: with old brokers, or of offsets that others have committed. */
export const NO_EPOCH = -1;
/** Answers that make no sense, in a row, before they are believed. */
const MOST_RIDDLES = 10;

interface FoundHistory {
  /** Of the leader that was asked. */
  readonly epoch: number;
  readonly end: bigint;
}

/**
 * Which leader's log a consumer has read. A leader that lacks what an earlier one had given out (an unclean election, data
 * put back from a copy) appends other records at the same offsets, and once there are enough of them no offset is out of
 * range. But each leader has an epoch above all earlier ones, logs remember where each epoch's records end, and leaders
 * refuse fetches that name another epoch than theirs: so a new one is always noticed, and asked where what it has of the
 * history that was read so far ends.
 */
export class LogHistory {
  private readonly epochs = new Map<string, number>();
  private readonly riddles = new Map<string, number>();

  constructor(
    private readonly connections: Connections,
    private readonly topology: Pick<Topology, 'leaderEpoch'>,
  ) {}

  /** All that was read of a partition is in the log of the leader of this epoch: not lower than the epoch of any of it. */
  epochOf(partition: TopicPartition): number {
    return this.epochs.get(partitionName(partition)) ?? NO_EPOCH;
  }

  /** @param epoch that of the position at which reading starts */
  begin(partition: TopicPartition, epoch: number): void {
    this.epochs.set(partitionName(partition), epoch);
    this.riddles.delete(partitionName(partition));
  }

  /** Whether the leader is known to have what was read. Where nothing was, or no leader has an epoch, nothing is missed. */
  isFollowed(partition: TopicPartition): boolean {
    const known = this.epochOf(partition);
    const current = this.topology.leaderEpoch(partition);
    if (known !== NO_EPOCH) return known === current || current === NO_EPOCH;
    this.epochs.set(partitionName(partition), current);
    return true;
  }

  /**
   * Asks the leader where the history that was read up to `position` ends in its log: there, or below if it lacks the rest.
   * To be followed by `begin`, if that log is read from there on.
   * @throws if it can't tell now
   */
  async endAt(node: number, partition: TopicPartition, position: bigint): Promise<FoundHistory> {
    const name = partitionName(partition);
    const currentEpoch = this.topology.leaderEpoch(partition);
    const endOffset = await this.endOf(node, partition, this.epochOf(partition));
    if (endOffset < 0n) {
      // A leader that has never heard of the epoch is not the leader any more, unless the whole cluster was set back.
      const riddles = (this.riddles.get(name) ?? 0) + 1;
      this.riddles.set(name, riddles);
      if (riddles < MOST_RIDDLES)
        throw new ProtocolError(UNKNOWN_LEADER_EPOCH, `OffsetForLeaderEpoch of ${name}`);
    }
    return { epoch: currentEpoch, end: endOffset >= 0n && endOffset < position ? endOffset : position };
  }

  /**
   * Asks the leader where records of the epoch, and of those before, end in its log: -1n if there is no telling.
   * @throws if it can't tell now
   */
  async endOf(node: number, partition: TopicPartition, epoch: number): Promise<bigint> {
    const { topic, partition: index } = partition;
    const currentEpoch = this.topology.leaderEpoch(partition);
    const partitions = [{ topic, partition: index, currentEpoch, epoch }];
    const [answer] = await this.connections.send(node, 'control', OFFSET_FOR_LEADER_EPOCH, { partitions });
    const { errorCode, endOffset } = answer!;
    if (errorCode !== 0)
      throw new ProtocolError(errorCode, `OffsetForLeaderEpoch of ${partitionName(partition)}`);
    return endOffset;
  }
}

const UNKNOWN_LEADER_EPOCH = 75;
