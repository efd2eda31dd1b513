/**
 * The port to the journal of steps: results that a handler's later runs get instead of running the step again.
 * Implemented beside the ledger, by `postgres/` and `testing/`; their suite is `testing/contract/ledger-steps.contract.ts`.
 */
import type { Scope } from './ledger-terms.js';

export interface RecordedStep {
  /** 0 for the first step that the handler runs. */
  readonly position: number;
  /** 1 to 200 characters. */
  readonly name: string;
  /** As `step-result.ts` encodes it; opaque to the ledger. */
  readonly result: Buffer;
}

/** A step to be written in a transaction. */
export interface StepToStore {
  readonly scope: Scope;
  readonly key: Buffer;
  readonly step: RecordedStep;
  /**
   * Of the claim that the execution is held by: if somebody else has it by then, the transaction rolls back with
   * `LeaseLostError`. `undefined` where the transaction itself holds the execution.
   */
  readonly token: string | undefined;
}

export interface StepJournal {
  /** What is recorded of an execution, by position. Steps live as long as their execution. */
  find(scope: Scope, key: Buffer): Promise<RecordedStep[]>;
  /**
   * Writes a step in a transaction of its own. A step that is there already stays as it is: recording may be repeated
   * when an answer was lost.
   * @throws LeaseLostError if `token` no longer holds the execution: nothing was stored.
   */
  record(step: StepToStore & { readonly token: string }): Promise<void>;
}
