import type { AssignerMember } from '../../driver/driver.js';
import type { TopicPartition } from '../../messages/record.js';
import type { Deferred } from '../../runtime/deferred.js';
import type { Broker, CancelTimer } from './broker.js';
import type { GroupRefusal, Joined, JoinRequest, Protocol } from './group-protocol.js';

/** What the coordinator keeps about one member. */
export class GroupMember {
  protocols: readonly Protocol[] = [];
  rebalanceTimeout = 0;
  assignment: readonly TopicPartition[] = [];
  /** The join that waits for the next generation. */
  joining: Deferred<Joined | GroupRefusal> | undefined;
  /** The sync that waits for the leader. */
  syncing: Deferred<readonly TopicPartition[] | GroupRefusal> | undefined;
  #sessionTimeout = 0;
  #deadline = 0;
  #cancelSession: CancelTimer = () => {};

  constructor(
    readonly memberId: string,
    private readonly broker: Broker,
    private readonly onSessionOver: () => void,
  ) {}

  update({ sessionTimeout, rebalanceTimeout, protocols }: JoinRequest): void {
    this.#sessionTimeout = sessionTimeout;
    this.rebalanceTimeout = rebalanceTimeout;
    this.protocols = protocols;
    this.refresh();
    this.#watchSession();
  }

  /** The member showed that it is alive. */
  refresh(): void {
    this.#deadline = this.broker.clock.monotonic() + this.#sessionTimeout;
  }

  protocol(name: string): Protocol | undefined {
    return this.protocols.find((protocol) => protocol.name === name);
  }

  describe(protocolName: string): AssignerMember {
    const { topics, userData } = this.protocol(protocolName)!;
    return { memberId: this.memberId, topics: [...topics], userData: userData && Buffer.from(userData) };
  }

  answerJoin(answer: Joined | GroupRefusal): void {
    this.joining?.resolve(answer);
    this.joining = undefined;
    this.assignment = [];
    this.refresh();
  }

  answerSync(answer: readonly TopicPartition[] | GroupRefusal): void {
    if (!this.syncing) return;
    this.syncing.resolve(answer);
    this.syncing = undefined;
    this.refresh();
  }

  /** The group goes on without it. */
  dismiss(): void {
    this.#cancelSession();
    this.joining?.resolve('unknown-member');
    this.syncing?.resolve('unknown-member');
    this.joining = undefined;
    this.syncing = undefined;
  }

  #watchSession(): void {
    this.#cancelSession();
    const left = this.#deadline - this.broker.clock.monotonic();
    this.#cancelSession = this.broker.after(Math.max(1, left), () => {
      // Who waits for the others can't be expected to show itself.
      if (this.joining || this.syncing) this.refresh();
      if (this.broker.clock.monotonic() >= this.#deadline) this.onSessionOver();
      else this.#watchSession();
    });
  }
}
