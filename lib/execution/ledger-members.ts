/** A member of a consumer group, as its coordinator names it. */
export interface MemberName {
  readonly groupId: string;
  readonly memberId: string;
}

/** A member that another process announced. */
export interface OtherMember extends MemberName {
  /** Which process, for people. */
  readonly instance: string;
  /** `false`: that process has no connection to the store any more. It died, or is cut off. */
  readonly alive: boolean;
}

/** A lane that a process holds by an open transaction, which somebody waits for. */
export interface Obstruction {
  readonly groupId: string;
  /** Of the process, as in `OtherMember`. */
  readonly instance: string;
  readonly topic: string;
  readonly topicId: string;
}

/**
 * Who of which consumer group is behind which connection to the store: a process that dies loses its connection at once,
 * long before a coordinator misses its heartbeats.
 */
export interface LedgerMembers {
  /**
   * Says which members this process has, in place of what it said before, and resolves with the members that others have
   * in the groups of these. Called again and again: what it says counts for as long as this process can be seen to live.
   */
  announce(mine: readonly MemberName[], groups: readonly string[]): Promise<readonly OtherMember[]>;
  /** Takes a member off that is none any more. */
  forget(member: MemberName): Promise<void>;
  /**
   * Lanes of these groups that other processes hold by open transactions which have kept somebody waiting, for whatever is
   * locked in them, for about a second.
   */
  obstructions(groups: readonly string[]): Promise<readonly Obstruction[]>;
  /**
   * Ends the transactions by which a process holds lanes of a group: to be called when it is no member of the group any
   * more. Resolves with how many there were. A process that goes on finds that nothing of them was stored.
   */
  endTransactions(groupId: string, instance: string): Promise<number>;
  /** Takes all members of this process off. Idempotent; tolerates never-announced. Never rejects. */
  withdraw(): Promise<void>;
}
