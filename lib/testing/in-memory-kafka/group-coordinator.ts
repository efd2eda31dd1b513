import { StaleMemberError, TopicMissingError, WrongCallOrderError } from '../../errors/errors.js';
import type { PartitionOffset } from '../../messages/record.js';
import type { Broker } from './broker.js';
import type { GroupRefusal } from './group-protocol.js';
import { Group } from './group.js';
import type { TopicStore } from './topic-store.js';

/** Who commits: a member in its generation, or nobody for a group without members. */
export interface Committer {
  readonly memberId: string;
  readonly generationId: number;
}

/** With a `topicId` it is meant for that topic only, not for another one made under its name since. */
export interface CommitOffset extends PartitionOffset {
  readonly topicId?: string | undefined;
  /** Of the log that it counts in, if it is known. */
  readonly epoch?: number | undefined;
}

/** All groups of one cluster, and what they have committed. */
export class GroupCoordinator {
  readonly #groups = new Map<string, Group>();
  readonly #offsets = new Map<string, Map<string, Map<number, CommitOffset>>>();

  constructor(
    private readonly broker: Broker,
    private readonly topics: TopicStore,
  ) {
    // A topic's offsets go with it: what is made anew under its name starts from nothing.
    topics.onDeleted((topic) => {
      for (const offsets of this.#offsets.values()) offsets.delete(topic);
    });
  }

  /** The group of that name; made on the first call. */
  group(groupId: string): Group {
    let group = this.#groups.get(groupId);
    if (!group) this.#groups.set(groupId, (group = new Group(this.broker, groupId)));
    return group;
  }

  /** Every group that was ever asked for and not deleted. */
  groups(): IterableIterator<Group> {
    return this.#groups.values();
  }

  /** @throws StaleMemberError if the committer is over; nothing is stored then. */
  commit(groupId: string, offsets: readonly CommitOffset[], committer: Committer | undefined): void {
    const group = this.group(groupId);
    if (committer) {
      const refusal = group.admitCommit(committer.memberId, committer.generationId);
      if (refusal) throw staleMember(groupId, committer.memberId, refusal);
    } else if (group.state !== 'empty') {
      throw new WrongCallOrderError(
        `The offsets of group "${groupId}" can't be set while it has members. Stop them first.`,
      );
    }
    for (const offset of offsets) this.#expectPartition(offset);
    let byTopic = this.#offsets.get(groupId);
    if (!byTopic) this.#offsets.set(groupId, (byTopic = new Map()));
    for (const offset of offsets) {
      const { topic, partition } = offset;
      let byPartition = byTopic.get(topic);
      if (!byPartition) byTopic.set(topic, (byPartition = new Map()));
      byPartition.set(partition, offset);
    }
  }

  committed(groupId: string, topic: string, partition: number): CommitOffset | undefined {
    return this.#offsets.get(groupId)?.get(topic)?.get(partition);
  }

  /** Forgets a group without members, its offsets and its generation. One that does not exist is fine. */
  delete(groupId: string): void {
    const group = this.#groups.get(groupId);
    if (group && group.state !== 'empty') {
      throw new WrongCallOrderError(
        `Group "${groupId}" can't be deleted while it has members. Stop them first.`,
      );
    }
    this.#groups.delete(groupId);
    this.#offsets.delete(groupId);
  }

  #expectPartition({ topic: name, partition, topicId }: CommitOffset): void {
    const topic = this.topics.expect(name);
    if (topicId !== undefined && topicId !== topic.topicId) {
      throw new TopicMissingError(
        `Topic "${name}" was deleted and made anew: offsets of the old one mean nothing`,
      );
    }
    if (!topic.partitions[partition]) {
      throw new WrongCallOrderError(`Topic "${name}" has no partition ${partition} to commit an offset for`);
    }
  }
}

const REASONS: Record<GroupRefusal, string> = {
  'unknown-member': 'is no member of it any more',
  'illegal-generation': 'belongs to an earlier generation',
  'rebalance-in-progress': 'is between two generations',
  'inconsistent-protocol': 'shares no assigner with it',
};

export function staleMember(groupId: string, memberId: string, refusal: GroupRefusal): StaleMemberError {
  return new StaleMemberError(
    `Group "${groupId}" goes on without member "${memberId}", which ${REASONS[refusal]}`,
  );
}
