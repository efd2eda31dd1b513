import { AsyncLocalStorage } from 'node:async_hooks';
import type { OutboxRecord } from '../execution/ledger.js';

interface Run {
  /** The client of the transaction. */
  readonly client: unknown;
  /** What `emit` was called with. */
  readonly outbox: OutboxRecord[];
  /** It has not returned yet. */
  open: boolean;
}

/** What `DurableExecution` gives a handler while it runs. */
export interface HandlerRun extends Run {
  readonly kind: 'handler';
  /** The idempotency key, as people write it. */
  readonly key: string;
  /** 1 for the first run in this process. */
  readonly attempt: number;
}

/** What it gives to a function within `DurableLedger.transaction`. */
export interface TransactionRun extends Run {
  readonly kind: 'transaction';
}

export type DurableRun = HandlerRun | TransactionRun;

/** Follows a run through its promises. */
export const durableRuns = new AsyncLocalStorage<DurableRun>();
