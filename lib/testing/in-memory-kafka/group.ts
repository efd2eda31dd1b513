import type { TopicPartition } from '../../messages/record.js';
import { deferred } from '../../runtime/deferred.js';
import type { Broker, CancelTimer } from './broker.js';
import { GroupMember } from './group-member.js';
import type { GroupRefusal, Joined, JoinRequest } from './group-protocol.js';

export type GroupAssignment = ReadonlyMap<string, readonly TopicPartition[]>;
export type GroupState = 'empty' | 'preparing-rebalance' | 'completing-rebalance' | 'stable';

/**
 * The coordinator's side of one consumer group: Kafka's classic protocol with eager rebalances. Members hold the
 * generation they joined in; a new one begins when all of them have asked to join, or when those that have not in
 * the longest rebalance timeout are dropped. Then the leader's assignment is handed to each.
 */
export class Group {
  #state: GroupState = 'empty';
  #generationId = 0;
  #protocol = '';
  #leader: string | undefined;
  #cancelRebalance: CancelTimer = () => {};
  readonly #members = new Map<string, GroupMember>();
  readonly #registered = new Set<string>();

  constructor(
    private readonly broker: Broker,
    readonly groupId: string,
  ) {}

  get state(): GroupState {
    return this.#state;
  }

  get generationId(): number {
    return this.#generationId;
  }

  get memberIds(): string[] {
    return [...this.#members.keys()];
  }

  /** The first step of a new member: the id that it joins with. */
  register(): string {
    const memberId = `${this.groupId}-${this.broker.clock.uuid()}`;
    this.#registered.add(memberId);
    return memberId;
  }

  /** Answers when the group's next generation begins. */
  join(request: JoinRequest): Promise<Joined | GroupRefusal> {
    const answer = deferred<Joined | GroupRefusal>();
    const { memberId } = request;
    let member = this.#members.get(memberId);
    if (!member && !this.#registered.has(memberId)) answer.resolve('unknown-member');
    else if (!this.#supports(request)) answer.resolve('inconsistent-protocol');
    else {
      if (!member) {
        this.#registered.delete(memberId);
        member = new GroupMember(memberId, this.broker, () => this.remove(memberId));
        this.#members.set(memberId, member);
      }
      member.update(request);
      member.joining?.resolve('unknown-member');
      member.joining = answer;
      if (this.#state !== 'preparing-rebalance') this.#prepareRebalance();
      this.#completeJoinIfAllAsked();
    }
    return answer.promise;
  }

  /** Answers when the leader has handed out its assignment. Only the leader gives one. */
  sync(
    memberId: string,
    generationId: number,
    assignment?: GroupAssignment,
  ): Promise<readonly TopicPartition[] | GroupRefusal> {
    const answer = deferred<readonly TopicPartition[] | GroupRefusal>();
    const refusal = this.check(memberId, generationId);
    const member = this.#members.get(memberId);
    if (refusal || !member) answer.resolve(refusal ?? 'unknown-member');
    else if (this.#state === 'preparing-rebalance') answer.resolve('rebalance-in-progress');
    else {
      member.refresh();
      member.syncing = answer;
      if (assignment && this.#state === 'completing-rebalance') this.#handOut(assignment);
      if (this.#state === 'stable') this.#answerSync(member);
    }
    return answer.promise;
  }

  /** Keeps a member's session alive. `rebalance-in-progress` asks it to join again. */
  heartbeat(memberId: string, generationId: number): GroupRefusal | undefined {
    const refusal = this.check(memberId, generationId);
    if (refusal) return refusal;
    this.#members.get(memberId)?.refresh();
    return this.#state === 'preparing-rebalance' ? 'rebalance-in-progress' : undefined;
  }

  /** Whether a commit under this member and generation may be stored. A commit counts as a heartbeat. */
  admitCommit(memberId: string, generationId: number): GroupRefusal | undefined {
    const refusal = this.check(memberId, generationId);
    if (refusal) return refusal;
    this.#members.get(memberId)?.refresh();
    return this.#state === 'completing-rebalance' ? 'rebalance-in-progress' : undefined;
  }

  /** A member that is not there is fine. */
  remove(memberId: string): boolean {
    const registered = this.#registered.delete(memberId);
    const member = this.#members.get(memberId);
    if (!member) return registered;
    this.#members.delete(memberId);
    member.dismiss();
    if (this.#leader === memberId) this.#leader = undefined;
    if (this.#state !== 'preparing-rebalance') this.#prepareRebalance();
    this.#completeJoinIfAllAsked();
    return true;
  }

  check(memberId: string, generationId: number): GroupRefusal | undefined {
    if (!this.#members.has(memberId)) return 'unknown-member';
    return generationId === this.#generationId ? undefined : 'illegal-generation';
  }

  #prepareRebalance(): void {
    this.#state = 'preparing-rebalance';
    for (const member of this.#members.values()) member.answerSync('rebalance-in-progress');
    const timeout = Math.max(0, ...[...this.#members.values()].map((member) => member.rebalanceTimeout));
    this.#cancelRebalance();
    this.#cancelRebalance = this.broker.after(timeout, () => this.#dropLatecomers());
  }

  #dropLatecomers(): void {
    for (const [memberId, member] of this.#members) {
      if (member.joining) continue;
      this.#members.delete(memberId);
      member.dismiss();
    }
    this.#completeJoinIfAllAsked();
  }

  #completeJoinIfAllAsked(): void {
    const members = [...this.#members.values()];
    if (!members.every((member) => member.joining)) return;
    this.#cancelRebalance();
    this.#generationId++;
    if (members.length === 0) {
      this.#state = 'empty';
      return;
    }
    this.#state = 'completing-rebalance';
    if (this.#leader === undefined || !this.#members.has(this.#leader)) this.#leader = members[0]!.memberId;
    this.#protocol = commonProtocol(members);
    for (const member of members) {
      member.answerJoin({
        generationId: this.#generationId,
        protocol: this.#protocol,
        members:
          member.memberId === this.#leader ? members.map((each) => each.describe(this.#protocol)) : undefined,
      });
    }
  }

  #handOut(assignment: GroupAssignment): void {
    this.#state = 'stable';
    for (const member of this.#members.values()) {
      member.assignment = (assignment.get(member.memberId) ?? []).map(({ topic, partition }) => ({
        topic,
        partition,
      }));
      this.#answerSync(member);
    }
  }

  #answerSync(member: GroupMember): void {
    member.answerSync(member.assignment);
  }

  #supports({ memberId, protocols }: JoinRequest): boolean {
    const others = [...this.#members.values()].filter((member) => member.memberId !== memberId);
    return protocols.some(({ name }) => others.every((member) => member.protocol(name)));
  }
}

/** Of the protocols that all members know, the one that most of them like best. */
function commonProtocol(members: readonly GroupMember[]): string {
  const votes = new Map<string, number>();
  for (const { protocols } of members) {
    const best = protocols.find(({ name }) => members.every((member) => member.protocol(name)));
    if (best) votes.set(best.name, (votes.get(best.name) ?? 0) + 1);
  }
  return [...votes].sort(([, left], [, right]) => right - left)[0]?.[0] ?? '';
}
