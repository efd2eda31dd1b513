import type { LockMode } from './in-memory-locks.js';

/** Resolves when the lock is held; it is until the end of the work that asked for it. */
export type AcquireLock = (name: string, mode?: LockMode) => Promise<void>;

/** What a ledger lends its parts. */
export interface InMemoryLedgerHost {
  /** One way of a message to the database; rejects if it is away. */
  reach(): Promise<void>;
  /** Runs `work` with locks of its own, released at its end. */
  locking<T>(work: (lock: AcquireLock) => Promise<T>): Promise<T>;
}
