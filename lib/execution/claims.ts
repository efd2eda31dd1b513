/**
 * The port to claims: executions in work without an open transaction. Implemented beside the ledger, by `postgres/` and
 * `testing/`; their suite is `testing/contract/ledger-claims.contract.ts`.
 *
 * A claim holds one execution for one *token*, a UUID that its owner made up, until its lease is over by the store's
 * clock. From then on anybody may take it over, and whoever does has another token: what the former owner still tries
 * under its own is refused. A claim and a transaction under one key exclude each other: to a transaction a claimed
 * execution is a known one, and a claim waits for a transaction that has claimed its key.
 */
import type { ParkingWork } from './ledger-parking.js';
import type { ClaimVerdict, ExecutionClaim, Fence, OutboxRecord } from './ledger-terms.js';

/** A lane, and the token under which executions of it are held. A token is used in one lane only. */
export interface HeldLane {
  readonly fence: Fence;
  readonly token: string;
}

/** `resumed`: ours, and an earlier owner may have left steps. Else as for transactions. */
export type HoldVerdict = ClaimVerdict | 'resumed';

export interface CompletedClaim {
  readonly execution: ExecutionClaim;
  /** Packed replies of a request. */
  readonly reply: Buffer | undefined;
  readonly outbox: readonly OutboxRecord[];
}

export interface Completion extends HeldLane {
  readonly completed: readonly CompletedClaim[];
  /** Where the fence goes; no further than the first of `completed` that turns out to be lost. */
  readonly nextOffset: bigint;
  /** Of its lane. Letters at the offsets of lost executions stay. */
  readonly parking?: ParkingWork | undefined;
}

/** Besides these errors, each rejects with `LedgerUnreachableError`, and then nothing was stored. */
export interface LedgerClaims {
  /**
   * Claims keys for `lease` milliseconds: new ones, and those whose lease is over if their content is the same. Keys are
   * distinct, positions included. The fence stays where it is.
   * @throws FencedError
   */
  claim(lane: HeldLane, executions: readonly ExecutionClaim[], lease: number): Promise<HoldVerdict[]>;
  /**
   * Claims an execution that ended `failed`, for a new request under its key.
   * @throws FencedError; ExecutionInWorkError if somebody else was first.
   */
  reclaim(lane: HeldLane, execution: ExecutionClaim, lease: number): Promise<void>;
  /**
   * Has the leases of everything held by these tokens end `lease` milliseconds from now. Resolves with what each still
   * holds, as `key.toString('latin1')`.
   */
  renew(tokens: readonly string[], lease: number): Promise<Map<string, Set<string>>>;
  /**
   * In one transaction: ends executions as `completed` with their replies and outbox, and moves the fence. Those that the
   * token no longer holds are left out with all that is theirs; resolves with their keys.
   * @throws FencedError, CommitUnknownError
   */
  complete(completion: Completion): Promise<Buffer[]>;
  /**
   * Gives claims back: others may have them at once. What was new and recorded no step leaves nothing, what had failed has
   * failed again. Keys that the token does not hold are passed over.
   */
  release(token: string, keys: readonly Buffer[]): Promise<void>;
}
