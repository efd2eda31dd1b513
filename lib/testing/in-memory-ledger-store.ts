import type { LetterOrder, LetterToStore, ParkingError } from '../execution/ledger-parking.js';
import type { MemberName } from '../execution/ledger-members.js';
import type {
  DeadLetterToStore,
  ExecutionClaim,
  ExecutionState,
  KnownExecution,
  Lane,
  OutboxRecord,
  Scope,
} from '../execution/ledger.js';
import type { RecordedStep } from '../execution/step-journal.js';
import { InMemoryLocks } from './in-memory-locks.js';

export interface StoredExecution extends KnownExecution {
  readonly scope: Scope;
  readonly key: Buffer;
  readonly state: ExecutionState;
  readonly attempts: number;
  readonly error: { readonly name: string; readonly message: string } | null;
  /** Milliseconds since the epoch. */
  readonly finishedAt: number;
}

export interface StoredFence {
  readonly lane: Lane;
  readonly leaderEpoch?: number | undefined;
  readonly nextOffset: bigint;
  /** Where it stood before its last move: a release goes back no further. */
  readonly previousOffset: bigint;
  readonly epoch: bigint;
  /** The ledger that took it. */
  readonly owner: string;
}

export interface StoredClaim {
  readonly token: string;
  readonly instance: string;
  readonly lane: Lane;
  readonly key: Buffer;
  readonly offset: bigint;
  /** Milliseconds since the epoch. */
  readonly claimedAt: number;
  readonly leaseUntil: number;
  readonly takeovers: number;
  /** The execution had failed before: a release puts that back. */
  readonly hadFailed: boolean;
}

export interface StoredDeadLetter extends DeadLetterToStore {
  readonly lane: Lane;
  readonly executionKey: Buffer;
  readonly offset: bigint;
}

export interface StoredOutboxRecord {
  /** `null` if it was written outside any handler. */
  readonly lane: Lane | null;
  readonly record: OutboxRecord;
  /** In the order of writing. */
  readonly seq: bigint;
  readonly createdAt: number;
}

export interface StoredReply {
  readonly body: Buffer;
  readonly createdAt: number;
}

/** Of a record that is tried again; times are milliseconds since the epoch. */
export interface StoredRetry {
  readonly failures: number;
  readonly firstFailedAt: number;
  readonly lastFailedAt: number;
  readonly error: { readonly name: string; readonly message: string };
}

/** Records that wait behind their head; times are milliseconds since the epoch. */
export interface StoredParked {
  readonly id: string;
  readonly lane: Lane;
  readonly sequence: Buffer;
  /** By offset. */
  readonly letters: Map<bigint, LetterToStore>;
  failures: number;
  retries: number;
  held: boolean;
  readonly parkedAt: number;
  firstFailedAt: number | undefined;
  dueAt: number;
  error: ParkingError | undefined;
  /** What an operator wants to become of the letters up to an offset. */
  order: (LetterOrder & { readonly until: bigint }) | undefined;
}

/** A row that a handler wrote through its transaction's client. */
export interface StoredRow {
  readonly table: string;
  readonly row: unknown;
}

/** A fence that a commit moved. */
export interface CommittedFence {
  readonly lane: Lane;
  /** Under which the transaction moved it. */
  readonly epoch: bigint;
  /** In force at the moment of the commit: the same, or somebody got past the fence. */
  readonly epochInForce: bigint;
  readonly nextOffset: bigint;
}

/** What one transaction made durable, all at once. */
export interface StoredCommit {
  /** The ledger that committed. */
  readonly owner: string;
  readonly fences: readonly CommittedFence[];
  readonly executions: readonly StoredExecution[];
  readonly rows: readonly StoredRow[];
  readonly outbox: readonly OutboxRecord[];
}

/**
 * The database behind one or more `InMemoryLedger`s: what it holds is committed, and outlives the ledgers that wrote it,
 * as processes come and go. Tests read it; only ledgers write.
 */
export class InMemoryLedgerStore {
  readonly executions = new Map<string, StoredExecution>();
  readonly fences = new Map<string, StoredFence>();
  readonly replies = new Map<string, StoredReply>();
  readonly deadLetters = new Map<string, StoredDeadLetter>();
  /** What died and was put back, or needed not to be. */
  readonly redriven = new Set<string>();
  /** Who holds which execution in state `claimed`. */
  readonly claims = new Map<string, StoredClaim>();
  /** By lane and offset. */
  readonly retries = new Map<string, Map<bigint, StoredRetry>>();
  /** By lane and sequence, in the order in which they came. */
  readonly parked = new Map<string, StoredParked>();
  /** Per execution, by position. */
  readonly steps = new Map<string, Map<number, RecordedStep>>();
  /** By id, in the order of their commits. */
  readonly outbox = new Map<string, StoredOutboxRecord>();
  /** Append-only. */
  readonly rows: StoredRow[] = [];
  readonly locks = new InMemoryLocks();
  /** When each ledger was last seen, by its name. */
  readonly instances = new Map<string, number>();
  /** Members of consumer groups, by group and member id. */
  readonly members = new Map<string, MemberName & { readonly instance: string }>();
  /** Ledgers that have announced members and not died since. */
  readonly living = new Set<string>();
  private lastSeq = 0n;
  private lastEpoch = 0n;
  private lastSequenceId = 0;
  private readonly onDisconnect = new Set<() => void>();
  private readonly onCommit = new Set<(commit: StoredCommit) => void>();
  private away = false;

  /** `true` between `disconnect` and `reconnect`. */
  get unreachable(): boolean {
    return this.away;
  }

  /** The database goes away: open transactions roll back, and everything rejects until `reconnect`. */
  disconnect(): void {
    this.away = true;
    for (const listener of [...this.onDisconnect]) listener();
  }

  reconnect(): void {
    this.away = false;
  }

  /** Rows that handlers wrote to `table`, in the order of their commits. */
  rowsOf(table: string): unknown[] {
    return this.rows.filter((row) => row.table === table).map(({ row }) => row);
  }

  /** Calls back at each commit of handlers' work, and each ending, when it is stored. Returns how to stop that. */
  whenCommitted(listener: (commit: StoredCommit) => void): () => void {
    this.onCommit.add(listener);
    return () => this.onCommit.delete(listener);
  }

  /** For ledgers: tells the listeners. */
  committed(commit: StoredCommit): void {
    for (const listener of [...this.onCommit]) listener(commit);
  }

  /** For ledgers: an epoch that was never used. */
  nextEpoch(): bigint {
    return ++this.lastEpoch;
  }

  /** For ledgers: what operators know a parked sequence by. */
  nextSequenceId(): string {
    return String(++this.lastSequenceId);
  }

  /** For ledgers: writes a record to the outbox. */
  addOutbox(lane: Lane | null, record: OutboxRecord, createdAt: number): void {
    this.outbox.set(record.id, { lane, record, createdAt, seq: ++this.lastSeq });
  }

  /** For ledgers: writes a step, unless there is one at its position. */
  addStep(name: string, step: RecordedStep): void {
    let steps = this.steps.get(name);
    if (!steps) this.steps.set(name, (steps = new Map()));
    if (!steps.has(step.position)) steps.set(step.position, { ...step, result: Buffer.from(step.result) });
  }

  /** For transactions: to be told when the database goes away. Returns how to stop that. */
  whenDisconnected(listener: () => void): () => void {
    this.onDisconnect.add(listener);
    return () => this.onDisconnect.delete(listener);
  }
}

export function executionName(scope: Scope, key: Buffer): string {
  return JSON.stringify([scope.group, scope.handler, key.toString('latin1')]);
}

export function laneName({ scope, topicId, partition }: Lane): string {
  return JSON.stringify([scope.group, scope.handler, topicId, partition]);
}

/** A lane inherits from itself, and from the same lane of an earlier topic of its name. */
export function isLeftTo(lane: Lane, left: Lane): boolean {
  const same = lane.scope.group === left.scope.group && lane.scope.handler === left.scope.handler;
  return (
    same && lane.partition === left.partition && (lane.topicId === left.topicId || lane.topic === left.topic)
  );
}

/** What the port tells of an execution. */
export function knownExecution({
  state,
  fingerprint,
  topicId,
  partition,
  offset,
}: StoredExecution): KnownExecution {
  return { state, fingerprint, topicId, partition, offset };
}

export function max(left: bigint, right: bigint): bigint {
  return left > right ? left : right;
}

/** What a claim writes, for its transaction to commit. */
export function completedExecution(
  lane: Lane,
  { key, fingerprint, offset }: ExecutionClaim,
  finishedAt: number,
): StoredExecution {
  const { scope, topicId, partition } = lane;
  return {
    scope,
    key: Buffer.from(key),
    state: 'completed',
    fingerprint,
    topicId,
    partition,
    offset,
    attempts: 1,
    error: null,
    finishedAt,
  };
}
