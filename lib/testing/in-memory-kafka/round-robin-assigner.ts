import type { GroupAssigner } from '../../driver/driver.js';
import { partitionName, type TopicPartition } from '../../messages/record.js';

/** Deals all partitions out in turn, each to a member that subscribes to its topic. */
export const roundRobinAssigner: GroupAssigner = {
  name: 'RoundRobinAssigner',
  userData: () => null,
  assign(members, partitions) {
    const sorted = [...members].sort((left, right) => (left.memberId < right.memberId ? -1 : 1));
    const shares = new Map<string, TopicPartition[]>(sorted.map(({ memberId }) => [memberId, []]));
    let turn = 0;
    for (const topic of [...partitions.keys()].sort()) {
      const takers = sorted.filter(({ topics }) => topics.includes(topic));
      if (takers.length === 0) continue;
      for (const partition of partitions.get(topic)!) {
        const taker = takers[turn++ % takers.length]!;
        shares.get(taker.memberId)!.push({ topic, partition });
      }
    }
    return shares;
  },
};

/** Drops what can't be read: partitions that do not exist or belong to topics that the member never asked for. */
export function readable(
  share: readonly TopicPartition[],
  partitions: ReadonlyMap<string, readonly number[]>,
): TopicPartition[] {
  const seen = new Set<string>();
  return share.filter((each) => {
    const name = partitionName(each);
    if (seen.has(name) || !partitions.get(each.topic)?.includes(each.partition)) return false;
    seen.add(name);
    return true;
  });
}
