import type { RevocationReason } from '../driver/driver.js';
import type { TopicPartition } from '../messages/record.js';
import { operatorEvents } from '../runtime/operator-events.js';

/** Tells whoever watches this process which partitions its consumer got or lost. */
export function tellRebalanced(
  group: string,
  change: 'assigned' | RevocationReason,
  partitions: readonly TopicPartition[],
): void {
  const { rebalanced } = operatorEvents;
  if (!rebalanced.hasSubscribers) return;
  const names = partitions.map(({ topic, partition }) => ({ topic, partition }));
  rebalanced.publish({ group, change, partitions: names });
}
