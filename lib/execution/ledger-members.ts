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
  /** Takes all members of this process off. Idempotent; tolerates never-announced. Never rejects. */
  withdraw(): Promise<void>;
}
