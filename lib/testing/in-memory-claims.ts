import { CommitUnknownError, ExecutionInWorkError, FencedError } from '../errors/errors.js';
import type { CompletedClaim, Completion, HeldLane, HoldVerdict, LedgerClaims } from '../execution/claims.js';
import type { ExecutionClaim } from '../execution/ledger.js';
import type { Clock } from '../runtime/clock.js';
import type { AcquireLock, InMemoryLedgerHost } from './in-memory-ledger-host.js';
import { expectParked, storeParking } from './in-memory-parking.js';
import {
  completedExecution,
  executionName,
  knownExecution,
  laneName,
  type InMemoryLedgerStore,
} from './in-memory-ledger-store.js';

/** What a ledger lends its claims. */
export interface InMemoryClaimsHost extends InMemoryLedgerHost {
  /** Who holds what this ledger claims, for people. */
  readonly owner: string;
  takeLostAnswer(): { readonly stored: boolean } | undefined;
}

export class InMemoryClaims implements LedgerClaims {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly clock: Clock,
    private readonly host: InMemoryClaimsHost,
  ) {}

  claim(lane: HeldLane, executions: readonly ExecutionClaim[], lease: number): Promise<HoldVerdict[]> {
    return this.inLane(lane, async (lock) => {
      const verdicts = new Map<ExecutionClaim, HoldVerdict>();
      for (const execution of [...executions].sort((left, right) => left.key.compare(right.key))) {
        await lock(executionName(lane.fence.lane.scope, execution.key));
        verdicts.set(execution, this.claimKey(lane, execution, lease));
      }
      return executions.map((execution) => verdicts.get(execution)!);
    });
  }

  reclaim(lane: HeldLane, execution: ExecutionClaim, lease: number): Promise<void> {
    return this.inLane(lane, async (lock) => {
      const name = executionName(lane.fence.lane.scope, execution.key);
      await lock(name);
      const known = this.store.executions.get(name);
      if (known?.state !== 'failed') {
        throw new ExecutionInWorkError('Somebody else took the failed execution over first');
      }
      this.store.executions.set(name, { ...known, state: 'claimed' });
      this.hold(name, lane, execution, lease, true);
    });
  }

  async renew(tokens: readonly string[], lease: number): Promise<Map<string, Set<string>>> {
    await this.host.reach();
    const held = new Map(tokens.map((token) => [token, new Set<string>()]));
    for (const [name, claim] of this.store.claims) {
      const keys = held.get(claim.token);
      if (!keys) continue;
      this.store.claims.set(name, { ...claim, leaseUntil: this.clock.now() + lease });
      keys.add(claim.key.toString('latin1'));
    }
    return held;
  }

  complete(completion: Completion): Promise<Buffer[]> {
    return this.inLane(completion, async (lock) => {
      const { scope } = completion.fence.lane;
      const names = completion.completed.map(({ execution }) => executionName(scope, execution.key));
      for (const name of [...names].sort()) await lock(name);
      const lostAnswer = this.host.takeLostAnswer();
      if (lostAnswer?.stored === false) throw new CommitUnknownError();
      const { parking } = completion;
      if (parking) expectParked(this.store, [parking]);
      const lost = completion.completed.filter((each) => !this.end(completion, each));
      const nextOffset = this.moveFence(completion, lost);
      const kept = completion.completed.filter((each) => !lost.includes(each));
      if (parking) {
        const isLost = (offset: bigint) => lost.some(({ execution }) => execution.offset === offset);
        const removed = parking.removed.filter(({ offset }) => !isLost(offset));
        storeParking(this.store, [{ ...parking, removed }], this.clock.now());
      }
      const { lane, epoch } = completion.fence;
      this.store.committed({
        owner: this.host.owner,
        fences: [{ lane, epoch, epochInForce: this.store.fences.get(laneName(lane))!.epoch, nextOffset }],
        executions: kept.map(({ execution }) =>
          this.store.executions.get(executionName(scope, execution.key))!,
        ),
        rows: [],
        outbox: kept.flatMap(({ outbox }) => outbox),
      });
      if (lostAnswer) throw new CommitUnknownError();
      return lost.map(({ execution }) => execution.key);
    });
  }

  async release(token: string, keys: readonly Buffer[]): Promise<void> {
    await this.host.reach();
    await this.host.locking(async (lock) => {
      for (const [name, claim] of [...this.store.claims]) {
        if (claim.token !== token || !keys.some((key) => key.equals(claim.key))) continue;
        await lock(name);
        if (this.store.claims.get(name) === claim) this.giveBack(name);
      }
    });
  }

  private claimKey(lane: HeldLane, execution: ExecutionClaim, lease: number): HoldVerdict {
    const name = executionName(lane.fence.lane.scope, execution.key);
    const known = this.store.executions.get(name);
    if (known === undefined) {
      const now = this.clock.now();
      this.store.executions.set(name, {
        ...completedExecution(lane.fence.lane, execution, now),
        state: 'claimed',
      });
      this.hold(name, lane, execution, lease, false);
      return 'claimed';
    }
    const claim = this.store.claims.get(name);
    const isFree = claim !== undefined && claim.leaseUntil <= this.clock.now();
    if (known.state !== 'claimed' || !isFree || known.fingerprint !== execution.fingerprint) {
      return knownExecution(known);
    }
    this.hold(name, lane, execution, lease, claim.hadFailed, claim.takeovers + 1);
    return 'resumed';
  }

  private hold(
    name: string,
    { fence, token }: HeldLane,
    { key, offset }: ExecutionClaim,
    lease: number,
    hadFailed: boolean,
    takeovers = 0,
  ): void {
    const now = this.clock.now();
    this.store.claims.set(name, {
      token,
      instance: this.host.owner,
      lane: fence.lane,
      key: Buffer.from(key),
      offset,
      claimedAt: this.store.claims.get(name)?.claimedAt ?? now,
      leaseUntil: now + lease,
      takeovers,
      hadFailed,
    });
  }

  private end({ fence: { lane }, token }: Completion, { execution, reply, outbox }: CompletedClaim): boolean {
    const name = executionName(lane.scope, execution.key);
    const claim = this.store.claims.get(name);
    if (claim?.token !== token) return false;
    const now = this.clock.now();
    this.store.claims.delete(name);
    this.store.executions.set(name, completedExecution(lane, execution, now));
    if (claim.hadFailed) this.store.replies.delete(name);
    if (reply) this.store.replies.set(name, { body: Buffer.from(reply), createdAt: now });
    for (const record of outbox) this.store.addOutbox(lane, record, now);
    return true;
  }

  /** As far as nothing was lost; never back. Returns where it stands. */
  private moveFence({ fence: { lane }, nextOffset }: Completion, lost: readonly CompletedClaim[]): bigint {
    const stored = this.store.fences.get(laneName(lane))!;
    let reached = nextOffset;
    for (const { execution } of lost) if (execution.offset < reached) reached = execution.offset;
    if (reached <= stored.nextOffset) return stored.nextOffset;
    const moved = { ...stored, nextOffset: reached, previousOffset: stored.nextOffset };
    this.store.fences.set(laneName(lane), moved);
    return reached;
  }

  private giveBack(name: string): void {
    const claim = this.store.claims.get(name)!;
    const execution = this.store.executions.get(name)!;
    if (!claim.hadFailed && this.store.steps.has(name)) {
      this.store.claims.set(name, { ...claim, leaseUntil: this.clock.now() });
      return;
    }
    this.store.claims.delete(name);
    if (claim.hadFailed) this.store.executions.set(name, { ...execution, state: 'failed' });
    else this.store.executions.delete(name);
  }

  /** With the fence kept from being taken, and under its epoch. */
  private async inLane<T>(
    { fence: { lane, epoch } }: HeldLane,
    work: (lock: AcquireLock) => Promise<T>,
  ): Promise<T> {
    await this.host.reach();
    return this.host.locking(async (lock) => {
      // Besides the transactions of steps; whoever takes the fence waits for all of them.
      await lock(laneName(lane), 'shared');
      if (this.store.fences.get(laneName(lane))?.epoch !== epoch) {
        throw new FencedError(`Epoch ${epoch} of ${laneName(lane)} was superseded, nothing was stored`);
      }
      return work(lock);
    });
  }
}
