import type { LedgerMembers, MemberName, Obstruction, OtherMember } from '../execution/ledger-members.js';
import { laneName, type InMemoryLedgerStore, type StoredFence } from './in-memory-ledger-store.js';
import { InMemoryTransaction } from './in-memory-transaction.js';

/** A ledger in memory lives until it is closed or crashes. */
export class InMemoryLedgerMembers implements LedgerMembers {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly owner: string,
    private readonly reach: () => Promise<void>,
  ) {}

  async announce(mine: readonly MemberName[], groups: readonly string[]): Promise<readonly OtherMember[]> {
    await this.reach();
    this.takeOff();
    const { members, living } = this.store;
    living.add(this.owner);
    for (const { groupId, memberId } of mine) {
      members.set(memberKey({ groupId, memberId }), { groupId, memberId, instance: this.owner });
    }
    return [...members.values()]
      .filter(({ groupId, instance }) => groups.includes(groupId) && instance !== this.owner)
      .map((member) => ({ ...member, alive: living.has(member.instance) }));
  }

  async forget(member: MemberName): Promise<void> {
    await this.reach();
    this.store.members.delete(memberKey(member));
  }

  async obstructions(groups: readonly string[]): Promise<readonly Obstruction[]> {
    await this.reach();
    const { fences, locks } = this.store;
    return [...fences.values()].flatMap((fence) => {
      const { lane, owner: instance } = fence;
      const { group: groupId } = lane.scope;
      if (instance === this.owner || !groups.includes(groupId)) return [];
      if (!this.holdersOf(fence).some((holder) => locks.isWaitedFor(holder))) return [];
      return [{ groupId, instance, topic: lane.topic, topicId: lane.topicId }];
    });
  }

  async endTransactions(groupId: string, instance: string): Promise<number> {
    await this.reach();
    const fences = [...this.store.fences.values()].filter(
      ({ lane, owner }) => owner === instance && lane.scope.group === groupId,
    );
    const holders = new Set(fences.flatMap((fence) => this.holdersOf(fence)));
    for (const holder of holders) holder.break();
    return holders.size;
  }

  async withdraw(): Promise<void> {
    await this.reach().then(
      () => this.takeOff(),
      () => undefined,
    );
    this.die();
  }

  /** The process is gone, and nothing was said. */
  die(): void {
    this.store.living.delete(this.owner);
  }

  private holdersOf({ lane }: StoredFence): InMemoryTransaction[] {
    const holders = this.store.locks.holdersOf(laneName(lane));
    return holders.filter((holder) => holder instanceof InMemoryTransaction);
  }

  private takeOff(): void {
    const { members } = this.store;
    for (const [key, { instance }] of members) if (instance === this.owner) members.delete(key);
  }
}

function memberKey({ groupId, memberId }: MemberName): string {
  return JSON.stringify([groupId, memberId]);
}
