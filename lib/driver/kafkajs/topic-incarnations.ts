import { partitionName, type TopicPartition } from '../../messages/record.js';
import { commitMark, commitOrigin } from './commit-mark.js';
import type { CommittedPartition } from './offset-requests.js';
import type { Topology } from './topology.js';
import { NO_TOPIC_ID } from './wire.js';

/** Tells topics and partitions that a consumer, or its group, has known from others that only bear their names. */
export class TopicIncarnations {
  /** Ids as of the last assignment. */
  private readonly ids = new Map<string, string>();
  private readonly initial = new Set<string>();

  constructor(private readonly topology: Topology) {}

  /** Once, at the start: what is made later is read from its first record, since all of it comes later. */
  rememberInitial(): void {
    for (const name of this.topology.subscribedTopics()) {
      for (const { partition } of this.topology.topic(name)?.partitions ?? []) {
        this.initial.add(this.fullName({ topic: name, partition }));
      }
    }
  }

  isInitial(partition: TopicPartition): boolean {
    return this.initial.has(this.fullName(partition));
  }

  /** Whether the topic was deleted and made anew. One that is gone for now was not, yet. */
  isAnother(topic: string, topicId: string): boolean {
    return (this.topology.topic(topic)?.topicId ?? topicId) !== topicId;
  }

  remember(topic: string, topicId: string): void {
    this.ids.set(topic, topicId);
  }

  /** For the metadata of what is committed in the topic of that id. */
  mark(topicId: string): string | undefined {
    return commitMark({ clusterId: this.topology.clusterId, topicId });
  }

  /**
   * Whether what the group has committed, be it nothing, was committed in the topic that bears the name now. What has no
   * mark of this cluster is taken for that, unless this consumer has known another topic of the name.
   */
  counts({ topic, metadata }: CommittedPartition): boolean {
    const topicId = this.topology.topic(topic)?.topicId ?? NO_TOPIC_ID;
    const origin = commitOrigin(metadata);
    if (topicId !== NO_TOPIC_ID && origin && origin.clusterId === this.topology.clusterId) {
      return origin.topicId === topicId;
    }
    return !this.isAnother(topic, this.ids.get(topic) ?? topicId);
  }

  private fullName(partition: TopicPartition): string {
    return `${partitionName(partition)} ${this.topology.topic(partition.topic)?.topicId ?? ''}`;
  }
}
