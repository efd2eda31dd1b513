import type { LedgerMembers, MemberName, OtherMember } from '../execution/ledger-members.js';
import type { InMemoryLedgerStore } from './in-memory-ledger-store.js';

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

  private takeOff(): void {
    const { members } = this.store;
    for (const [key, { instance }] of members) if (instance === this.owner) members.delete(key);
  }
}

function memberKey({ groupId, memberId }: MemberName): string {
  return JSON.stringify([groupId, memberId]);
}
