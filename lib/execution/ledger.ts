/**
 * The port to the ledger: what durable execution needs from a store. Implemented by `postgres/` and by
 * `testing/in-memory-ledger.ts`; each passes `testing/contract/ledger.contract.ts` unchanged.
 *
 * Vocabulary. A *scope* is a consumer group and a handler id: where an idempotency key is unique. A *lane* is a scope
 * on one partition: where order holds. A lane's *fence* says that everything below `nextOffset` is terminal, and
 * carries the epoch of who may move it.
 *
 * Errors. Every method rejects with `LedgerUnreachableError` if the store cannot be reached or cannot work now (and
 * nothing was stored), `FencedError` if somebody took the lane's epoch (nothing was stored).
 */
import type { RecordHeader } from '../messages/record.js';
import type { LedgerCare } from './ledger-care.js';
import type { LedgerFailures } from './ledger-failures.js';
import type { LedgerMembers } from './ledger-members.js';
import type { LedgerReader } from './ledger-reader.js';
import type { LedgerRedrive } from './ledger-redrive.js';
import type { ExecutionState, Lane, OutboxRecord, Scope } from './ledger-terms.js';
import type { StepJournal, StepToStore } from './step-journal.js';

export type { ExecutionState, Lane, OutboxRecord, Scope } from './ledger-terms.js';

/** A lane held under an epoch. */
export interface Fence {
  readonly lane: Lane;
  readonly epoch: bigint;
  /** Everything below is terminal: completed, failed, dead, parked or skipped. */
  readonly nextOffset: bigint;
}

export interface FenceTaken {
  readonly fence: Fence;
  /** Committed by an earlier owner and perhaps never produced: produce these, in order, before anything else. */
  readonly undispatched: readonly OutboxRecord[];
}

/** One record's wish to run. */
export interface ExecutionClaim {
  /** Encoded idempotency key, at most 513 bytes, see `messages/idempotency-key.ts`. */
  readonly key: Buffer;
  /** Digest of the record's key and value, to tell a repetition from a reuse. */
  readonly fingerprint: bigint;
  readonly offset: bigint;
}

/** All wishes of one group in one lane. */
export interface LaneClaim {
  readonly fence: Fence;
  /** What the fence's `nextOffset` becomes if the transaction commits without releasing anything. */
  readonly advanceTo: bigint;
  /** Keys are distinct. Empty where positions alone identify the records: then the fence does the work. */
  readonly executions: readonly ExecutionClaim[];
}

/** An execution that is already in the ledger. */
export interface KnownExecution {
  readonly state: ExecutionState;
  readonly fingerprint: bigint;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** `claimed`: ours, run the handler. Otherwise what is there already. In the order of the claims. */
export type ClaimVerdict = 'claimed' | KnownExecution;

/** Replies as they go over the wire, packed by `messages/reply.ts`; opaque to the ledger. */
export interface ReplyToStore {
  readonly scope: Scope;
  readonly key: Buffer;
  readonly body: Buffer;
}

/** Claims whose handlers did not run in this transaction after all: they are given back within it. */
export interface Release {
  readonly fence: Fence;
  readonly keys: readonly Buffer[];
  /** Where the fence stands instead. */
  readonly nextOffset: bigint;
}

export interface GroupWork {
  readonly releases: readonly Release[];
  readonly replies: readonly ReplyToStore[];
  /** With the lane whose next owner produces them if we die before `markDispatched`; `null` leaves them to a sweep. */
  readonly outbox: readonly { readonly lane: Lane | null; readonly record: OutboxRecord }[];
  /** Steps of the executions of this transaction, or of one that is held by a claim. */
  readonly steps?: readonly StepToStore[] | undefined;
}

/** A terminal end other than `completed`, written in a transaction of its own. */
export interface Conclusion {
  readonly fence: Fence;
  readonly execution: ExecutionClaim;
  readonly state: Exclude<ExecutionState, 'completed'>;
  readonly attempts: number;
  /** Class and message of the last error; bounded by the caller. */
  readonly error: { readonly name: string; readonly message: string } | null;
  /** The error reply, for requests. */
  readonly reply: Buffer | null;
  /** For `dead`: why, and the record with all its bytes. */
  readonly deadLetter: DeadLetterToStore | null;
  /** The dead letter on its way to its topic, if there is one. */
  readonly outbox: OutboxRecord | null;
}

export interface DeadLetterToStore {
  readonly reason: string;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

export interface Ledger {
  /** For people who look into it. */
  readonly reader: LedgerReader;
  /** For what has to be done now and then. */
  readonly care: LedgerCare;
  /** Of records that are tried again. */
  readonly failures: LedgerFailures;
  /** Of records that were given up. */
  readonly redrives: LedgerRedrive;
  /** For who takes over from whom. */
  readonly members: LedgerMembers;
  /** For results of steps. */
  readonly steps: StepJournal;
  /** Connects and brings the schema up to date, or refuses one that it can't work with (`LedgerSchemaError`). */
  open(): Promise<void>;
  /** Idempotent; tolerates never-opened. */
  close(): Promise<void>;
  /**
   * Makes room for that many transactions at once, besides the ledger's own work. A pool whose size nobody chose grows.
   * @throws InvalidOptionError if it can't.
   */
  reserve(transactions: number): void;
  /** Resolves if the store can take work now. */
  ping(): Promise<void>;
  /**
   * Takes the lane's next epoch: whoever held it before is fenced from now on. Waits for an open transaction of the
   * previous owner. After five seconds of waiting it asks `confirm` whether the caller is a confirmed member of its
   * consumer group; if so it ends the backend that blocks it (same application name, same role only).
   */
  takeFence(lane: Lane, confirm: () => Promise<boolean>): Promise<FenceTaken>;
  /** A transaction that has not begun: nothing is sent before its first `claim`, or `begin`. */
  transaction(): LedgerTransaction;
  /** Stored replies by key; missing ones are absent. Keys of the map: `key.toString('latin1')`. */
  findReplies(scope: Scope, keys: readonly Buffer[]): Promise<Map<string, Buffer>>;
  /**
   * Writes a terminal end and moves the fence past it, in one transaction.
   * Resolves with what was there already if the key has a terminal execution at another position (nothing was
   * written but the fence moved), else with `undefined`.
   */
  conclude(conclusion: Conclusion): Promise<KnownExecution | undefined>;
  /** Notes that outbox records were acknowledged by the broker. Batched; never rejects. */
  markDispatched(ids: readonly string[]): void;
}

export interface LedgerTransaction {
  /** Begins without claiming anything: for work that no record brought about. */
  begin(): Promise<void>;
  /**
   * The first call begins the transaction; the fence is checked and moved and all keys are claimed in one round trip.
   * Waits for a twin in another transaction that holds one of the keys. May be called once per lane.
   */
  claim(claim: LaneClaim): Promise<ClaimVerdict[]>;
  /**
   * Takes over an execution that ended `failed`, for a new request under its key: from now on it is claimed as if it
   * were new.
   */
  reclaim(fence: Fence, execution: ExecutionClaim): Promise<void>;
  /**
   * The store's own client, bound to this transaction: for Postgres an object with `query` as in `pg`. Using it after
   * the transaction's end rejects with an error that says so.
   */
  readonly client: unknown;
  /** `true` once the connection is gone: whatever failed, failed because of that. */
  readonly broken: boolean;
  /**
   * Runs a part of a handler's work that is undone if it rejects, and rejects as it does: what it wrote through the client
   * that it is given, and through `client` meanwhile. Its client refuses once the part is over. One part at a time.
   */
  nested<T>(work: (client: unknown) => Promise<T>): Promise<T>;
  /**
   * Makes everything durable at once: the handlers' own writes, executions, fence, replies, outbox. Rejects with
   * `CommitUnknownError` if the answer was lost, `TransactionAbortedError` if a handler swallowed a database error and
   * the store rolled back instead, `LeaseLostError` if a step's claim is somebody else's by now.
   */
  commit(work: GroupWork): Promise<void>;
  /** Idempotent; never rejects. */
  rollback(): Promise<void>;
}
