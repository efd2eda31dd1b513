import { partitionName, type TopicPartition } from '../../messages/record.js';
import type { Topology } from './topology.js';

/** Remembers which topics and partitions are the ones that a consumer has known, and which only bear their names. */
export class TopicIncarnations {
  /** Ids as of the last assignment. */
  private readonly ids = new Map<string, string>();
  private readonly initial = new Set<string>();
  private readonly renewed = new Set<string>();

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

  /** Before an assignment: notes topics made anew since the last. What is committed for them belongs to the old ones. */
  noticeRenewed(): void {
    for (const [topic, topicId] of this.ids) if (this.isAnother(topic, topicId)) this.renewed.add(topic);
  }

  isRenewed(topic: string): boolean {
    return this.renewed.has(topic);
  }

  /** After the offsets of renewed topics were replaced. */
  settleRenewed(): void {
    this.renewed.clear();
  }

  remember(topic: string, topicId: string): void {
    this.ids.set(topic, topicId);
  }

  private fullName(partition: TopicPartition): string {
    return `${partitionName(partition)} ${this.topology.topic(partition.topic)?.topicId ?? ''}`;
  }
}
