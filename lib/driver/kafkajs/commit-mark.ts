import { NO_TOPIC_ID } from './wire.js';

/**
 * Which topic a committed offset counts in. Brokers keep offsets by topic name, and may keep them when the topic is
 * deleted. The cluster belongs to it: tools that mirror a cluster copy metadata along with offsets that they translate.
 */
export interface CommitOrigin {
  readonly clusterId: string;
  readonly topicId: string;
}

const MARK = /^nestjs-durable-kafka topic=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) cluster=(\S{1,128})$/;

/** For the metadata of a commit; `undefined` where broker or cluster have no ids. */
export function commitMark({ clusterId, topicId }: Partial<CommitOrigin>): string | undefined {
  if (!clusterId || !topicId || topicId === NO_TOPIC_ID) return undefined;
  const mark = `nestjs-durable-kafka topic=${topicId} cluster=${clusterId}`;
  return MARK.test(mark) ? mark : undefined;
}

/** `undefined` for the metadata of users and of other clients. */
export function commitOrigin(metadata: string | null | undefined): CommitOrigin | undefined {
  const [, topicId, clusterId] = MARK.exec(metadata ?? '') ?? [];
  return topicId && clusterId ? { topicId, clusterId } : undefined;
}
