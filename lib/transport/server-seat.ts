import type { DriverConsumer, KafkaDriver, TopicDescription } from '../driver/driver.js';

/** Which topic of which cluster. */
type TopicIdentity = Pick<TopicDescription, 'topic' | 'topicId'>;

/** A server's place in its consumer group, for modules that watch over the group. */
export class ServerSeat {
  constructor(
    readonly groupId: string,
    private readonly consumer: DriverConsumer,
    private readonly driver: KafkaDriver,
  ) {}

  /** What the coordinator calls the server; `undefined` while it knows nothing of it. */
  get memberId(): string | undefined {
    return this.consumer.memberId;
  }

  /** Has the coordinator drop another member of the group. Resolves with whether it was there. */
  async drop(memberId: string): Promise<boolean> {
    const admin = this.driver.createAdmin();
    try {
      await admin.connect();
      return await admin.removeMember(this.groupId, memberId);
    } finally {
      await admin.disconnect();
    }
  }

  /**
   * Whether these are members no more: the coordinator counts us among the group, and none of them. `false` where the
   * topic is another cluster's, whose group of this name they may be in.
   */
  async areDropped(memberIds: readonly string[], { topic, topicId }: TopicIdentity): Promise<boolean> {
    const { memberId } = this;
    if (memberId === undefined) return false;
    const admin = this.driver.createAdmin();
    try {
      await admin.connect();
      const [known] = await admin.describeTopics([topic]);
      if (known?.topicId !== topicId) return false;
      const counted = await admin.memberIds(this.groupId);
      return counted.includes(memberId) && !memberIds.some((other) => counted.includes(other));
    } finally {
      await admin.disconnect();
    }
  }

  /** Asks the coordinator now whether a rebalance is under way; a heartbeat would do so later. Never rejects. */
  async confirm(): Promise<void> {
    try {
      await this.consumer.confirmMembership();
    } catch {
      // Not a member now, or out of reach: there is nothing to hear of then.
    }
  }
}
