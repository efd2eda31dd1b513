import type { Clock } from '../runtime/clock.js';
import type { HeldLane, LedgerFailures } from './ledger-failures.js';
import type { Lane } from './ledger-terms.js';

/** Failures that earlier owners of a lane counted. */
export interface KnownFailures {
  readonly failures: number;
  /** Time of the first, milliseconds since the epoch by this process's clock. */
  readonly firstFailure: number;
}

/**
 * The failures of records that are tried again: read when their lane is taken, written when one fails. Records that do
 * not fail cost nothing.
 */
export class FailureRegistry {
  private readonly known = new Map<string, Map<bigint, KnownFailures>>();

  constructor(
    private readonly store: () => LedgerFailures,
    private readonly clock: Clock,
  ) {}

  /** The lane is ours from now on. */
  async load(held: HeldLane, from: bigint): Promise<void> {
    const found = await this.store().find(held, from);
    const now = this.clock.now();
    const failures = found.map(
      ({ offset, failures, age }) => [offset, { failures, firstFailure: now - age }] as const,
    );
    if (failures.length > 0) this.known.set(nameOf(held.lane), new Map(failures));
    else this.known.delete(nameOf(held.lane));
  }

  of(lane: Lane, offset: bigint): KnownFailures | undefined {
    if (this.known.size === 0) return undefined;
    return this.known.get(nameOf(lane))?.get(offset);
  }

  /** Best effort: whoever can't be told counts anew after a restart. Never rejects. */
  async note(
    held: HeldLane,
    offset: bigint,
    failures: number,
    error: { readonly name: string; readonly message: string },
  ): Promise<void> {
    await this.store()
      .note(held, { offset, failures, error })
      .catch(() => undefined);
  }

  /** The record has ended. What is not forgotten here is when the lane is taken next, or by pruning. */
  forget(lane: Lane, offset: bigint): void {
    this.known.get(nameOf(lane))?.delete(offset);
    void this.store()
      .forget(lane, [offset])
      .catch(() => undefined);
  }
}

function nameOf({ scope, topicId, partition }: Lane): string {
  return JSON.stringify([scope.group, scope.handler, topicId, partition]);
}
