import { partitionName, type PartitionOffset, type TopicPartition } from '../../messages/record.js';
import type { Connections } from './connections.js';
import { FIND_COORDINATOR } from './group-requests.js';
import { EARLIEST, LATEST, LIST_OFFSETS, OFFSET_FETCH, type CommittedPartition } from './offset-requests.js';
import { ProtocolError } from './protocol-error.js';
import type { Topology } from './topology.js';
import { NO_TOPIC_ID } from './wire.js';

export interface StartOffsetsInput {
  readonly groupId: string;
  readonly partitions: readonly TopicPartition[];
  fromBeginning(partition: TopicPartition): boolean;
  /** Whether it was committed in the topic that bears the name now. If not, reading starts at the first record. */
  counts(committed: CommittedPartition): boolean;
  readonly readCommitted: boolean;
}

export interface StartOffset extends PartitionOffset {
  /** Of the topic that the offset counts in. */
  readonly topicId: string;
  /** That it was committed under; -1 if it was not, or nothing is known. */
  readonly leaderEpoch: number;
  /** What is committed and does not count, -1n for nothing; `undefined` if what is committed counts. */
  readonly outdated: bigint | undefined;
}

const LEADER_NOT_AVAILABLE = 5;

/**
 * The committed offsets, and for partitions without one their first or next offset. Partitions that are not known to
 * exist are left out: what is committed for them cannot be told from what another topic of the name will have.
 */
export async function startOffsets(
  connections: Connections,
  topology: Topology,
  { groupId, partitions, fromBeginning, counts, readCommitted }: StartOffsetsInput,
): Promise<StartOffset[]> {
  if (partitions.length === 0) return [];
  const coordinator = await connections.sendToAny(FIND_COORDINATOR, { groupId });
  const committed = await connections.send(coordinator, 'coordinator', OFFSET_FETCH, { groupId, partitions });
  // The broker that was asked may have known less of the topic than whoever committed.
  if (!committed.every(counts)) await topology.refresh();
  const present = partitions.filter((partition) => topology.has(partition));
  const topicIds = new Map(present.map(({ topic }) => [topic, topology.topic(topic)?.topicId]));
  const outdated = new Map<string, bigint>();
  for (const position of committed) {
    if (!counts(position)) outdated.set(partitionName(position), position.offset);
  }
  const found = committed.filter(
    (position) => position.offset >= 0n && !outdated.has(partitionName(position)),
  );
  const names = new Set(found.map(partitionName));
  const missing = present.filter((partition) => !names.has(partitionName(partition)));
  const first = missing.filter(
    (partition) => outdated.has(partitionName(partition)) || fromBeginning(partition),
  );
  const next = missing.filter((partition) => !first.includes(partition));
  const listed = await Promise.all([
    listOffsets(connections, topology, first, EARLIEST, readCommitted),
    listOffsets(connections, topology, next, LATEST, readCommitted),
  ]);
  const offsets = new Map(
    [...found, ...listed.flat()].map((position) => [partitionName(position), position.offset]),
  );
  const epochs = new Map(found.map((position) => [partitionName(position), position.leaderEpoch]));
  return present.map(({ topic, partition }) => {
    const name = partitionName({ topic, partition });
    return {
      ...{ topic, partition, offset: offsets.get(name)!, leaderEpoch: epochs.get(name) ?? -1 },
      ...{ topicId: topicIds.get(topic) ?? NO_TOPIC_ID, outdated: outdated.get(name) },
    };
  });
}

/** One request per leader. Rejects if any partition has no answer. */
export async function listOffsets(
  connections: Connections,
  leaders: Pick<Topology, 'leader'>,
  partitions: readonly TopicPartition[],
  timestamp: bigint,
  readCommitted: boolean,
): Promise<PartitionOffset[]> {
  const nodes = new Map<number, TopicPartition[]>();
  for (const partition of partitions) {
    const node = leaders.leader(partition);
    if (node === undefined)
      throw new ProtocolError(LEADER_NOT_AVAILABLE, `ListOffsets of ${partitionName(partition)}`);
    nodes.set(node, [...(nodes.get(node) ?? []), partition]);
  }
  const answers = await Promise.all(
    [...nodes].map(([node, ofNode]) =>
      connections.send(node, 'control', LIST_OFFSETS, { partitions: ofNode, timestamp, readCommitted }),
    ),
  );
  return answers.flat().map(({ errorCode, ...position }) => {
    if (errorCode !== 0) throw new ProtocolError(errorCode, `ListOffsets of ${partitionName(position)}`);
    return position;
  });
}

/** The first offset that exists if records were truncated away, the end if `position` is past it. */
export async function nearestOffset(
  connections: Connections,
  leaders: Pick<Topology, 'leader'>,
  partition: TopicPartition,
  position: bigint,
): Promise<bigint> {
  const edge = async (timestamp: bigint): Promise<bigint> =>
    (await listOffsets(connections, leaders, [partition], timestamp, false))[0]!.offset;
  const low = await edge(EARLIEST);
  if (position < low) return low;
  const high = await edge(LATEST);
  return position > high ? high : position;
}
