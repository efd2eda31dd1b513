import { CommitUnknownError, ExecutionInWorkError, FencedError, LeaseLostError } from '../errors/errors.js';
import type { KafkaRecord } from '../messages/record.js';
import { Admissions, type Admission } from './admissions.js';
import { reached, type Execution, type LaneWork, type PreparedLane } from './prepared-lane.js';
import { ClaimJournal, type StepOutlet } from './claim-journal.js';
import type { HoldVerdict } from './claims.js';
import { recordsOf } from './execution-group.js';
import type { FenceRegistry } from './fence-registry.js';
import type { FinishedExecution, GroupExecutions, OpenedRun } from './group-executions.js';
import { insist } from './insist.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { Lease } from './lease.js';
import { noteParking, parkingOf } from './parked-letters.js';
import type { Fence, KnownExecution, Lane, LaneClaim, Ledger, OutboxRecord } from './ledger.js';

/**
 * Claim mode: claims the keys of a group's records at once, lets their handlers run without a transaction, and completes at
 * once what ran. Each record's fate is its own.
 */
export class ClaimGroup implements GroupExecutions {
  private readonly admissions: Admissions;
  /** By handler: what is held in its lane. */
  private readonly leases = new Map<string, Lease>();
  /** Runs that have not returned: their claims are theirs until then, or until the lease is over. */
  private readonly running = new Set<Execution>();
  private over = false;

  /** @param dispatch has produced what a step's transaction committed. Never rejects. */
  constructor(
    private readonly ledger: Ledger,
    private readonly fences: FenceRegistry,
    private readonly keeper: LeaseKeeper,
    private readonly dispatch: (outbox: readonly OutboxRecord[]) => void,
  ) {
    this.admissions = new Admissions(ledger, fences, {
      claimsPositions: true,
      claim: (claim) => this.claim(claim),
      takeOver: (execution, known) => this.takeOver(execution, known),
    });
  }

  async admit(work: LaneWork, record: KafkaRecord): Promise<Admission> {
    const admission = await this.admissions.admit(work, record);
    if (admission.kind === 'run') {
      this.expectGoing(work.lane);
      this.expectHeld(admission.execution);
    }
    return admission;
  }

  isOver(lane: Lane, record: KafkaRecord): boolean {
    return this.admissions.isOver(lane, record);
  }

  executionOf(lane: Lane, record: KafkaRecord): Execution | undefined {
    return this.admissions.executionOf(lane, record);
  }

  open(execution: Execution, onLost: (error: Error) => void): OpenedRun {
    const lease = this.leaseOf(execution);
    lease.watch(execution.claim.key, onLost);
    this.running.add(execution);
    const outlet: StepOutlet = {
      dispatch: this.dispatch,
      doubt: (error) => this.haveTakenAnew(execution, error),
    };
    const journal = () => new ClaimJournal(this.ledger, execution, lease, this.keeper.clock, outlet);
    return { client: undefined, outbox: [], journal };
  }

  close(execution: Execution): void {
    this.running.delete(execution);
    // Given up before it returned: only now may others have it.
    if (this.over) void this.keeper.release(this.leaseOf(execution), [execution.claim.key]);
  }

  /** Whatever a run that has lost its claim came to, it does not count. */
  explain(execution: Execution | undefined, error: unknown): unknown {
    if (!execution || error instanceof LeaseLostError) return error;
    try {
      this.expectHeld(execution);
      return error;
    } catch (lost) {
      return lost;
    }
  }

  async commit(finished: readonly FinishedExecution[]): Promise<OutboxRecord[]> {
    this.over = true;
    const published: OutboxRecord[] = [];
    let failure: unknown;
    for (const lane of this.admissions.claimed) {
      // What one handler did must not hang on another's claims.
      try {
        published.push(...(await this.complete(lane, finished)));
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure === undefined) return published;
    this.dispatch(published);
    throw failure;
  }

  async rollback(): Promise<void> {
    this.over = true;
    for (const lane of this.admissions.claimed) await this.giveBack(lane, new Set());
  }

  private async complete(
    lane: PreparedLane,
    finished: readonly FinishedExecution[],
  ): Promise<OutboxRecord[]> {
    const { fence } = lane;
    const lease = this.leases.get(fence.lane.scope.handler)!;
    const records = recordsOf(fence.lane, finished);
    const done = finished
      .filter(({ lane: own }) => own.scope.handler === fence.lane.scope.handler)
      .flatMap(({ record, reply, outbox }) => {
        const entry = lane.entries.get(record);
        return entry?.running ? [{ execution: entry.execution!.claim, reply, outbox }] : [];
      });
    // Each once: a record that was admitted twice ran once.
    const completed = [...new Map(done.map((each) => [each.execution, each])).values()];
    for (const { execution } of completed) lease.drop(execution.key);
    // In a shared lane the fence stays.
    const nextOffset = reached(lane, records).nextOffset ?? fence.nextOffset;
    const parking = parkingOf(lane, records);
    let lost: Buffer[];
    let unknown: CommitUnknownError | undefined;
    try {
      const completion = { fence, token: lease.token, completed, nextOffset, parking };
      lost = await insist(
        this.keeper.clock,
        () => lease.isFresh,
        () =>
          this.ledger.claims.complete(completion).catch((error: unknown) => {
            if (error instanceof CommitUnknownError) unknown = error;
            throw error;
          }),
      );
    } catch (error) {
      this.fences.forget(fence, error);
      await this.giveBack(lane, new Set());
      throw error;
    }
    await this.giveBack(lane, records);
    if (lost.length > 0) {
      this.fences.forget(fence, unknown);
      // Probably by ourselves: the records come again and are told.
      if (unknown) throw unknown;
      throw new LeaseLostError(
        `${lost.length} of ${completed.length} executions of ${fence.lane.topic}[${fence.lane.partition}] were completed or ` +
          'taken over elsewhere',
      );
    }
    this.fences.advance(fence, nextOffset);
    if (parking) noteParking(this.fences, lane, parking);
    return completed.flatMap(({ outbox }) => outbox);
  }

  /**
   * Has the execution's next run produce what a step of this one may have left in the outbox: its fence is taken anew before
   * it, which waits for the step's transaction to end and finds what it committed. Not in a shared lane: that would fence
   * the groups beside this one, and have handlers run again that are through. There it is left to a sweep.
   */
  private haveTakenAnew({ fence }: Execution, error: CommitUnknownError): void {
    const of = this.admissions.claimed.find((lane) => lane.fence === fence);
    if (of && !of.work.isShared) this.fences.forget(fence, error);
  }

  /** Everything of a lane but `done`, and but what still runs. */
  private async giveBack(lane: PreparedLane, done: ReadonlySet<KafkaRecord>): Promise<void> {
    const lease = this.leases.get(lane.fence.lane.scope.handler);
    if (!lease) return;
    const left = [...lane.entries.values()].filter(
      ({ record, execution, known, repeats, error, running }) => {
        // The key of a repetition, or of a reuse, is the first one's.
        if (!execution || repeats || error || (known && !running) || done.has(record)) return false;
        lease.drop(execution.claim.key);
        return !this.running.has(execution);
      },
    );
    await this.keeper.release(
      lease,
      left.map(({ execution }) => execution!.claim.key),
    );
  }

  private async claim({ fence, executions }: LaneClaim): Promise<HoldVerdict[]> {
    const lease = this.keeper.create();
    this.leases.set(fence.lane.scope.handler, lease);
    const held = { fence, token: lease.token };
    const verdicts = await this.ledger.claims.claim(held, executions, lease.duration);
    verdicts.forEach((verdict, index) => {
      if (typeof verdict === 'string') lease.hold(executions[index]!.key);
    });
    await this.keepWhileGoing(lease, fence);
    return verdicts;
  }

  private async takeOver(execution: Execution, known: KnownExecution): Promise<void> {
    const { record, fence, claim } = execution;
    if (known.state === 'claimed') {
      throw new ExecutionInWorkError(
        `The execution at ${record.topic}[${record.partition}] offset ${record.offset} is in work elsewhere: its record ` +
          'waits until it has ended, or its lease is over',
      );
    }
    const lease = this.leaseOf(execution);
    try {
      await this.ledger.claims.reclaim({ fence, token: lease.token }, claim, lease.duration);
    } catch (error) {
      if (error instanceof FencedError) this.fences.forget(fence, error);
      throw error;
    }
    lease.hold(claim.key);
    await this.keepWhileGoing(lease, fence, claim.key);
  }

  /**
   * The end of the group does not wait for claims that are on their way, and does not know of them: nobody would run or give
   * back what they got, and it would be renewed for as long as this process lives.
   */
  private async keepWhileGoing(lease: Lease, { lane }: Fence, key?: Buffer): Promise<void> {
    if (this.over) await this.keeper.release(lease, key ? [key] : lease.heldKeys);
    this.expectGoing(lane);
    this.keeper.keep(lease);
  }

  /** @throws LeaseLostError */
  private expectGoing({ topic, partition }: Lane): void {
    if (!this.over) return;
    throw new LeaseLostError(
      `A group of ${topic}[${partition}] ended before what it claimed could run: the claims are given back`,
    );
  }

  /** @throws LeaseLostError */
  private expectHeld(execution: Execution): void {
    if (!this.leaseOf(execution).isLost(execution.claim.key)) return;
    const { topic, partition, offset } = execution.record;
    throw new LeaseLostError(
      `The claim of the execution at ${topic}[${partition}] offset ${offset} was lost; whoever has it now goes on`,
    );
  }

  private leaseOf({ fence }: Execution): Lease {
    return this.leases.get(fence.lane.scope.handler)!;
  }
}
