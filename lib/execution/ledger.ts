/**
 * The port to the ledger: what durable execution needs from a store. Implemented by `postgres/` and by
 * `testing/in-memory-ledger.ts`; each passes `testing/contract/ledger.contract.ts` unchanged.
 *
 * Vocabulary. A *scope* is a consumer group and a handler id: where an idempotency key is unique. A *lane* is a scope
 * on one partition: where order holds. A lane's *fence* says that everything below `nextOffset` is terminal, and
 * carries the epoch of who may move it.
 *
 * A lane may be *shared*: its owner has several transactions at work in it at once, in no order. Such a transaction keeps
 * the fence from being taken until it has ended, and leaves it where it stands; what is done above it has a row each, also
 * under a position. `moveFence` moves it up behind them. What a transaction stores is under the epoch that it began with,
 * so that nobody commits whose epoch was superseded before.
 *
 * Errors. Every method rejects with `LedgerUnreachableError` if the store cannot be reached or cannot work now (and
 * nothing was stored), `FencedError` if somebody took the lane's epoch (nothing was stored).
 */
import type { RecordHeader } from '../messages/record.js';
import type { LedgerClaims } from './claims.js';
import type { LedgerCare } from './ledger-care.js';
import type { LedgerFailures } from './ledger-failures.js';
import type { LedgerMembers } from './ledger-members.js';
import type { LedgerParking, LetterPlace, ParkedSequence, ParkingWork } from './ledger-parking.js';
import type { LedgerReader } from './ledger-reader.js';
import type { LedgerRedrive } from './ledger-redrive.js';
import type {
  ClaimVerdict,
  ExecutionClaim,
  ExecutionState,
  Fence,
  KnownExecution,
  Lane,
  OutboxRecord,
  Scope,
} from './ledger-terms.js';
import type { LedgerTruncations } from './ledger-truncations.js';
import type { StepJournal, StepToStore } from './step-journal.js';

export type * from './ledger-terms.js';

export interface FenceTaken {
  readonly fence: Fence;
  /** Committed by an earlier owner and perhaps never produced: produce these, in order, before anything else. */
  readonly undispatched: readonly OutboxRecord[];
  /** Sequences of the lane whose head could not be handled: what comes under their names queues behind it. */
  readonly parked: readonly ParkedSequence[];
}

/** All wishes of one group in one lane. */
export interface LaneClaim {
  readonly fence: Fence;
  /**
   * What the fence's `nextOffset` becomes if the transaction commits without releasing anything. `null`: the lane is
   * shared.
   */
  readonly advanceTo: bigint | null;
  /** Keys are distinct. In a lane that is not shared, records without a key need none: there the fence does the work. */
  readonly executions: readonly ExecutionClaim[];
}

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
  /** Where the fence stands instead; `null` if the lane is shared. */
  readonly nextOffset: bigint | null;
}

export interface GroupWork {
  readonly releases: readonly Release[];
  readonly replies: readonly ReplyToStore[];
  /** With the lane whose next owner produces them if we die before `markDispatched`; `null` leaves them to a sweep. */
  readonly outbox: readonly { readonly lane: Lane | null; readonly record: OutboxRecord }[];
  /** Steps of the executions of this transaction, or of one that is held by a claim. */
  readonly steps?: readonly StepToStore[] | undefined;
  /** The commit rejects with `FencedError` if a sequence that is to grow is not parked. */
  readonly parking?: readonly ParkingWork[] | undefined;
}

/** A terminal end other than `completed`, written in a transaction of its own. */
export interface Conclusion {
  readonly fence: Fence;
  /** The fence stays where it is. */
  readonly isShared: boolean;
  readonly execution: ExecutionClaim;
  readonly state: Exclude<ExecutionState, 'completed' | 'claimed'>;
  readonly attempts: number;
  /** Class and message of the last error; bounded by the caller. */
  readonly error: { readonly name: string; readonly message: string };
  /** The error reply, for requests. */
  readonly reply: Buffer | null;
  /** For `dead`: why, and the record with all its bytes. */
  readonly deadLetter: DeadLetterToStore | null;
  /** The dead letter on its way to its topic, if there is one. */
  readonly outbox: OutboxRecord | null;
  /** The record was parked, and leaves its sequence; also if the key is known already. */
  readonly letter?: LetterPlace | undefined;
}

export interface DeadLetterToStore {
  readonly reason: string;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

export interface TransactionOptions {
  /** Several handlers use its client at once: what would catch another one's statements is refused there. */
  readonly isConcurrent?: boolean;
}

export interface Ledger {
  /** For people who look into it. */
  readonly reader: LedgerReader;
  /** For what has to be done now and then. */
  readonly care: LedgerCare;
  /** Of records that are tried again. */
  readonly failures: LedgerFailures;
  /** Of records that wait for another try, with those of their key behind them. */
  readonly parking: LedgerParking;
  /** Of records that were given up. */
  readonly redrives: LedgerRedrive;
  /** Of partitions whose log lost its end. */
  readonly truncations: LedgerTruncations;
  /** For who takes over from whom. */
  readonly members: LedgerMembers;
  /** For results of steps. */
  readonly steps: StepJournal;
  /** For executions in work without an open transaction. */
  readonly claims: LedgerClaims;
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
  /**
   * Moves the fence of a shared lane up to `nextOffset`: everything below is terminal and was acknowledged. Does nothing
   * if it stands there or above. It may be forgotten in a crash of the store.
   */
  moveFence(fence: Fence, nextOffset: bigint): Promise<void>;
  /** A transaction that has not begun: nothing is sent before its first `claim`, or `begin`. */
  transaction(options?: TransactionOptions): LedgerTransaction;
  /** What ended under a key, as far as it is committed. */
  findExecution(scope: Scope, key: Buffer): Promise<KnownExecution | undefined>;
  /** Stored replies by key; missing ones are absent. Keys of the map: `key.toString('latin1')`. */
  findReplies(scope: Scope, keys: readonly Buffer[]): Promise<Map<string, Buffer>>;
  /**
   * Writes a terminal end and, unless the lane is shared, moves the fence past it, in one transaction.
   * Resolves with what was there already if the key has a terminal execution at another position, else with `undefined`.
   * Of what was there with the same content nothing is written, though the fence moved and the letter left; another content
   * is another message, which has not ended: then nothing is done at all.
   * @throws ExecutionInWorkError if the key is claimed and its lease is not over.
   */
  conclude(conclusion: Conclusion): Promise<KnownExecution | undefined>;
  /** Notes that outbox records were acknowledged by the broker. Batched; never rejects. */
  markDispatched(ids: readonly string[]): void;
}

export interface LedgerTransaction {
  /**
   * Begins without claiming anything: for work that no record brought about, or within a claim. With the claim's lane, whoever
   * takes its fence waits for the end of this transaction as for that of an owner, and in the end brings it about.
   */
  begin(lane?: Lane): Promise<void>;
  /**
   * The first call begins the transaction; the fence is checked, moved unless the lane is shared, and all keys are claimed
   * in one round trip.
   * Waits for a twin in another transaction that holds one of the keys. May be called once per lane.
   */
  claim(claim: LaneClaim): Promise<ClaimVerdict[]>;
  /**
   * Takes over an execution that ended `failed`, for a new request under its key, or one whose claim's lease is over: from
   * now on it is claimed as if it were new.
   * @throws ExecutionInWorkError if somebody else has it.
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
