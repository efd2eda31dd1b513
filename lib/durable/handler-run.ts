import { AsyncLocalStorage } from 'node:async_hooks';
import type { OutboxRecord } from '../execution/ledger.js';

/** What `DurableExecution` gives a handler while it runs. */
export interface HandlerRun {
  /** The idempotency key, as people write it. */
  readonly key: string;
  /** 1 for the first run in this process. */
  readonly attempt: number;
  /** The client of the message's transaction. */
  readonly client: unknown;
  /** What `emit` was called with. */
  readonly outbox: OutboxRecord[];
  /** The handler has not returned yet. */
  open: boolean;
}

/** Follows a handler through its promises. */
export const handlerRuns = new AsyncLocalStorage<HandlerRun>();
