import type { ExecutionState, Scope } from './ledger-terms.js';

/** An execution as people look at it. Times are milliseconds since the epoch, by the store's clock. */
export interface LedgerExecution {
  readonly group: string;
  readonly handler: string;
  /** The idempotency key as it was given; positions read `topicId/partition/offset`. */
  readonly key: string;
  readonly state: ExecutionState;
  /** Runs that were counted, 1 for a handler that succeeded at once. */
  readonly attempts: number;
  /** Class and message of the last error, where it did not end well. */
  readonly error: { readonly name: string; readonly message: string } | null;
  /** For `dead`: as in the dead letter's `dlt-reason`. */
  readonly reason: string | null;
  /** `null` once nobody knows the topic's name any more. */
  readonly topic: string | null;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: bigint;
  /** For `claimed`: when it was first claimed. */
  readonly finishedAt: number;
}

/** An execution in state `claimed`. Times are milliseconds since the epoch, by the store's clock. */
export interface ExecutionInWork extends Scope {
  readonly key: string;
  readonly topic: string | null;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Host and process that has it, or had it last. */
  readonly instance: string;
  /** `false`: its lease is over, or it was given back. Whoever gets its record next takes it over. */
  readonly held: boolean;
  readonly leaseUntil: number;
  /** Of its first owner. */
  readonly claimedAt: number;
  readonly takeovers: number;
}

export interface ExecutionFilter {
  readonly group?: string | undefined;
  readonly handler?: string | undefined;
  readonly state?: ExecutionState | undefined;
  /** Finished at or after, milliseconds since the epoch. */
  readonly since?: number | undefined;
  /** Finished before, milliseconds since the epoch. */
  readonly until?: number | undefined;
}

export interface ExecutionPage {
  /** Newest first. */
  readonly executions: readonly LedgerExecution[];
  /** Given as `after`, goes on behind the last of them; `undefined` at the end. */
  readonly next: string | undefined;
}

/** How many executions of a scope are in which state. */
export interface ScopeCounts extends Scope, Readonly<Record<ExecutionState, number>> {}

/** What is committed and not yet known to be with the broker. */
export interface OutboxLag {
  readonly records: number;
  /** Milliseconds since the oldest of them was written; 0 if there is none. */
  readonly age: number;
  readonly oldest: { readonly id: string; readonly topic: string; readonly createdAt: number } | undefined;
}

/**
 * What a ledger tells about itself, apart from its daily work. Rejects with `LedgerUnreachableError` like the rest of it.
 */
export interface LedgerReader {
  /** Under any of these encoded keys, in every scope that fits; by group and handler. */
  find(keys: readonly Buffer[], scope: Partial<Scope>): Promise<LedgerExecution[]>;
  /** @throws WrongCallOrderError if `after` is no `next` of an earlier page. */
  list(filter: ExecutionFilter, limit: number, after: string | undefined): Promise<ExecutionPage>;
  /** By group and handler. Reads everything: seconds for millions of executions. */
  counts(scope: Partial<Scope>): Promise<ScopeCounts[]>;
  outboxLag(): Promise<OutboxLag>;
  /** What is claimed, oldest first. */
  inWork(scope: Partial<Scope>, limit: number): Promise<ExecutionInWork[]>;
}
