import type { DriverConsumer, KafkaDriver } from '../driver/driver.js';

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

  /** Asks the coordinator now whether a rebalance is under way; a heartbeat would do so later. Never rejects. */
  async confirm(): Promise<void> {
    try {
      await this.consumer.confirmMembership();
    } catch {
      // Not a member now, or out of reach: there is nothing to hear of then.
    }
  }
}
