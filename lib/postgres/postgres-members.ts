import type { LedgerMembers, MemberName, Obstruction, OtherMember } from '../execution/ledger-members.js';
import type { Clock } from '../runtime/clock.js';
import { LaneHolders } from './lane-holders.js';
import type { LedgerPool } from './ledger-pool.js';
import { createMemberStatements, type MemberStatements } from './member-statements.js';
import { textArray } from './parameters.js';
import { Presence } from './presence.js';

/** Milliseconds that a process is believed to live behind a pooler, and what is left of that when it is renewed. */
const LEASE = 5_000;
const RENEWED_AT = 4_000;

/** Members of consumer groups, each with the session or the lease that says whether its process lives. */
export class PostgresMembers implements LedgerMembers {
  private readonly statements: MemberStatements;
  private readonly holders: LaneHolders;
  private presence: Presence | undefined;

  /** @param pool asked for at the first call: there is none before the ledger is open. */
  constructor(
    schema: string,
    private readonly instance: string,
    private readonly pool: () => LedgerPool,
    private readonly clock: Clock,
  ) {
    this.statements = createMemberStatements(schema);
    this.holders = new LaneHolders(schema, instance, pool);
  }

  async announce(mine: readonly MemberName[], groups: readonly string[]): Promise<readonly OtherMember[]> {
    const { pool, target } = this.pool();
    this.presence ??= new Presence(pool, target, this.clock);
    const lockKey = await this.presence.prove();
    const rows = await this.presence.run(this.statements.announce, [
      this.instance,
      textArray(mine.map(({ groupId }) => groupId)),
      textArray(mine.map(({ memberId }) => memberId)),
      lockKey,
      LEASE,
      RENEWED_AT,
      textArray(groups),
    ]);
    return rows.map((row) => ({
      groupId: String(row['consumer_group']),
      memberId: String(row['member_id']),
      instance: String(row['instance']),
      alive: row['alive'] === 't',
    }));
  }

  async forget({ groupId, memberId }: MemberName): Promise<void> {
    await this.pool().run(this.statements.forget, [groupId, memberId]);
  }

  obstructions(groups: readonly string[]): Promise<readonly Obstruction[]> {
    return this.holders.obstructions(groups);
  }

  endTransactions(groupId: string, instance: string): Promise<number> {
    return this.holders.endTransactions(groupId, instance);
  }

  async withdraw(): Promise<void> {
    // Who can't say so is found out by the end of its session.
    await this.presence?.run(this.statements.withdraw, [this.instance]).catch(() => undefined);
    this.presence?.close();
    this.presence = undefined;
  }
}
