import type { Lane } from './ledger-terms.js';

/** A lane under an epoch: a `Fence`, as far as it matters here. */
export interface HeldLane {
  readonly lane: Lane;
  readonly epoch: bigint;
}

/** How often a record's handler has failed so far. */
export interface RecordFailures {
  readonly offset: bigint;
  readonly failures: number;
  /** Milliseconds since the first of them, by the store's clock. */
  readonly age: number;
}

/** Class and message of what a handler threw; bounded by the caller. */
export interface FailureNote {
  readonly offset: bigint;
  readonly failures: number;
  readonly error: { readonly name: string; readonly message: string };
}

/** Remembers the failures of records that are tried again, for whoever holds their lane next. */
export interface LedgerFailures {
  /** Notes the last failure; does nothing if the epoch was superseded. A count never goes down. */
  note(held: HeldLane, note: FailureNote): Promise<void>;
  /** What is noted of records from `from` on; what is below has ended and is forgotten. */
  find(held: HeldLane, from: bigint): Promise<RecordFailures[]>;
  /** These records have ended. */
  forget(lane: Lane, offsets: readonly bigint[]): Promise<void>;
}
