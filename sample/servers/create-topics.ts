import type { Admin, ITopicConfig } from 'kafkajs';
import { waitFor } from './wait-for.js';

/**
 * Creates topics, where they are missing, and resolves when each of their partitions has a leader; rejects after
 * `timeoutMs`, with the last failure as cause. kafkajs' own `waitForLeaders` fails on a busy broker: one that its
 * controller has not told of the topic yet answers that there is none, which kafkajs takes for final.
 */
export async function createTopics(
  admin: Admin,
  topics: readonly ITopicConfig[],
  timeoutMs = 60_000,
): Promise<void> {
  const names = topics.map(({ topic }) => topic);
  const led = async () => {
    const metadata = await admin.fetchTopicMetadata({ topics: [...names] });
    for (const { name, partitions } of metadata.topics) {
      const wanted = topics.find(({ topic }) => topic === name)?.numPartitions ?? 1;
      const ready = partitions.filter(({ leader }) => leader >= 0).length;
      if (ready < wanted) throw new Error(`${name}: ${ready} of ${wanted} partitions have a leader`);
    }
  };
  const what = `${names.join(', ')} could not be created`;
  await waitFor(() => admin.createTopics({ waitForLeaders: false, topics: [...topics] }), {
    what,
    timeoutMs,
  });
  await waitFor(led, { what, timeoutMs });
}
