import type { OutboxRecord } from './ledger-terms.js';

/** Ages in milliseconds, by the store's clock. */
export interface SweepBounds {
  /** Younger records are left to whoever wrote them. */
  readonly settled: number;
  /** Older ones are taken even if the owner of their lane is alive: it must have lost them. */
  readonly abandoned: number;
  /** Who was not seen for that long is dead. */
  readonly silence: number;
  /** Records at once. */
  readonly limit: number;
}

export interface SweepResult {
  /** Records that were produced. */
  readonly produced: number;
  /** Where the next call goes on; `undefined` if there was nothing more, or somebody else is sweeping. */
  readonly next: bigint | undefined;
}

/** Milliseconds that executions are kept at least. Those that completed under their own position go with the fence instead. */
export interface Retention {
  /** Under keys that people or producers chose, and whatever is dead. */
  readonly keys: number;
  /** Under message ids, and what did not complete under its position; replies that have no execution. */
  readonly messageIds: number;
}

export interface PruneResult {
  /** Executions that were deleted, with all that belongs to them, and replies that belonged to none. */
  readonly deleted: number;
  /** `false`: the ledger was gone through to its end, or somebody else is at it. */
  readonly more: boolean;
}

/** What keeps a ledger in order. Each process calls it now and then; the store sees to it that one at a time works. */
export interface LedgerCare {
  /** Says that this process is alive, for as long as the sweeps of others wait for it. */
  beat(): Promise<void>;
  /**
   * Hands over, in the order of their writing, outbox records behind `after` that their writers do not seem to produce:
   * those of a lane whose owner is dead, and those without a lane. Forgets the ones whose ids `produce` resolves with;
   * nobody else is handed the same ones meanwhile.
   */
  sweep(
    bounds: SweepBounds,
    after: bigint,
    produce: (records: readonly OutboxRecord[]) => Promise<readonly string[]>,
  ): Promise<SweepResult>;
  /**
   * Looks at up to `limit` executions, going on where the last call (of any process) stopped, and deletes those that are
   * over their time, with replies, failures and dead letters, and those that completed under their own position, without
   * their replies. Never one that a fence does not cover.
   */
  prune(retention: Retention, limit: number): Promise<PruneResult>;
}
