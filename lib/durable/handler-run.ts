import { AsyncLocalStorage } from 'node:async_hooks';
import type { CallHandler } from '@nestjs/common';
import type { Observable } from 'rxjs';
import type { Attempt } from '../consumption/attempt.js';
import type { OutboxRecord } from '../execution/ledger.js';
import { WrongCallOrderError } from '../errors/errors.js';
import { NestedTransactions } from '../postgres/nested-transactions.js';
import type { TransactionClient } from '../postgres/transaction-client.js';
import type { Clock } from '../runtime/clock.js';
import type { StepOptions } from './step.options.js';

interface Run {
  /** The client of the transaction; `undefined` where none is open, in claim mode. */
  readonly client: unknown;
  /** What `emit` was called with. */
  readonly outbox: OutboxRecord[];
  /** It has not returned yet. */
  open: boolean;
  /** What `DurablePool` does within the transaction; made when it is first used. */
  nested?: NestedTransactions | undefined;
}

/** What `DurableExecution` gives a handler while it runs. */
export interface HandlerRun extends Run {
  readonly kind: 'handler';
  readonly owner: Attempt;
  /** Its id, for the log. */
  readonly handler: string;
  /** The idempotency key, as the ledger stores it: few ask for it, and the text would live as long as the group. */
  readonly key: Buffer;
  /** 1 for the first run, plus the failures so far. */
  readonly attempt: number;
  readonly steps: RunSteps;
  /** What a step's own function sees: it is inside of one. */
  readonly within?: 'step' | 'transaction' | undefined;
  /** Set before the handler is called. */
  calls?: RunCalls;
}

/** Stands before the handler itself, behind all interceptors. */
export interface RunCalls {
  /**
   * Called whenever interceptors call the handler.
   * @throws what the handler threw, or `WrongCallOrderError`, if it was called in this run before.
   */
  call(next: CallHandler): Observable<unknown>;
}

/** What a handler asks of its steps. */
export interface StepCall {
  readonly kind: 'step' | 'transaction';
  readonly name: string;
  readonly fn: (client: unknown, signal: AbortSignal) => unknown;
  readonly options: StepOptions;
}

export interface RunSteps {
  /** See `DurableExecution.step` and `.transaction`. */
  run(run: HandlerRun, call: StepCall): Promise<unknown>;
  /**
   * Called when the handler has returned.
   * @throws WrongCallOrderError, NonDeterministicStepError
   */
  expectEnded(): void;
}

/** What it gives to a function within `DurableLedger.transaction`. */
export interface TransactionRun extends Run {
  readonly kind: 'transaction';
}

export type DurableRun = HandlerRun | TransactionRun;

/** Follows a run through its promises. */
export const durableRuns = new AsyncLocalStorage<DurableRun | undefined>();

/** For what is told from within a run to who stands around it. */
export function outsideRuns(tell: () => void): void {
  durableRuns.run(undefined, tell);
}

/** The name of the handler whose run the caller belongs to, also when that is over. */
export function currentHandler(): string | undefined {
  const run = durableRuns.getStore();
  return run?.kind === 'handler' ? run.handler : run && 'DurableLedger.transaction()';
}

/**
 * The nested transactions of the run that the caller belongs to; `ended` if it outlived its run, `none` if no transaction
 * is open in it.
 */
export function currentNested(clock: Clock): NestedTransactions | 'ended' | 'none' | undefined {
  const run = durableRuns.getStore();
  if (run === undefined) return undefined;
  if (!run.open) return 'ended';
  if (run.client === undefined) return 'none';
  return (run.nested ??= new NestedTransactions(run.client as TransactionClient, clock, () => !run.open));
}

/**
 * Called when a run's function has returned.
 * @throws WrongCallOrderError if a nested transaction is still open: its statements would be committed with the rest.
 */
export function expectNothingNested({ nested }: DurableRun): void {
  if (!nested?.isOpen) return;
  throw new WrongCallOrderError(
    'A transaction that was begun through DurablePool is still open at the end of the run that it belongs to: a promise ' +
      'is floating. Await its COMMIT or ROLLBACK before returning.',
  );
}
