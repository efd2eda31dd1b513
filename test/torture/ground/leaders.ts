import type { Admin } from 'kafkajs';
import { OFFSETS_TOPIC } from '../oracle/coordinator-log.js';

/** Id of the broker that leads a partition. */
export async function leaderOf(admin: Admin, topic: string, partition: number): Promise<number> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const found = topics[0]?.partitions.find(({ partitionId }) => partitionId === partition);
  if (!found || found.leader < 0) throw new Error(`${topic}[${partition}] has no leader`);
  return found.leader;
}

/** Id of the broker that coordinates a group: the leader of the partition that keeps its offsets. */
export async function coordinatorOf(admin: Admin, groupId: string): Promise<number> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [OFFSETS_TOPIC] });
  return leaderOf(admin, OFFSETS_TOPIC, (javaHash(groupId) & 0x7fff_ffff) % topics[0]!.partitions.length);
}

/** `String.hashCode()`, by which brokers spread groups. */
function javaHash(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  return hash;
}
