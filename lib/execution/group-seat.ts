/** This process's place in a consumer group. */
export interface GroupSeat {
  readonly groupId: string;
  /** What the coordinator calls us; `undefined` while it knows nothing of us. */
  readonly memberId: string | undefined;
  /** Has the coordinator drop another member of the group. Resolves with whether it was there. */
  drop(memberId: string): Promise<boolean>;
  /**
   * Whether these are members no more: the coordinator counts us among the group, and none of them. `false` where the
   * topic is another cluster's, whose group of this name they may be in.
   */
  areDropped(
    memberIds: readonly string[],
    topic: { readonly topic: string; readonly topicId: string },
  ): Promise<boolean>;
  /** Asks the coordinator now whether a rebalance is under way. Never rejects. */
  confirm(): Promise<void>;
}
