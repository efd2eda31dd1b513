import { FencedError } from '../errors/errors.js';
import type { Clock } from '../runtime/clock.js';
import { FailureRegistry } from './failure-registry.js';
import type { Log } from '../runtime/log.js';
import { firstEpoch, isBehind, lostFrom, type LaneLog } from './lane-log.js';
import type { Fence, Lane, Ledger } from './ledger.js';
import { lowerFence } from './lower-fence.js';
import type { LanePartition } from './ledger-truncations.js';
import type { ParkingWork } from './ledger-parking.js';
import { ParkingRegistry } from './parking-registry.js';
import type { OutboxDispatcher, RecordProducer } from './outbox-dispatcher.js';

/** Who asks for a fence: a member of the consumer group, for as long as it holds the partition. */
export interface FenceHolder {
  /** Another number after each rebalance. */
  readonly rebalanceId: number;
  /** Asks the coordinator whether the holder is still a member. */
  confirm(): Promise<boolean>;
  produce: RecordProducer;
  /** Absent where the fence is not taken for records that were read. */
  readonly log?: LaneLog;
}

interface Held {
  readonly rebalanceId: number;
  readonly taking: Promise<Fence>;
  /** Once it is taken. */
  fence: Fence | undefined;
  /** While it is behind its log's leader. */
  following?: Promise<void> | undefined;
}

/** The fences that this process holds: taken once per lane and assignment, known from then on without asking. */
export class FenceRegistry {
  private readonly held = new Map<string, Held>();
  /** Lanes whose fence somebody else took, or may have taken, by the assignment in which that was. */
  private readonly doubtful = new Map<string, number>();

  /** Of the records of these lanes. */
  readonly failures: FailureRegistry;
  readonly parking = new ParkingRegistry();

  constructor(
    private readonly ledger: Ledger,
    private readonly dispatcher: OutboxDispatcher,
    clock: Clock,
    private readonly log: Log,
  ) {
    this.failures = new FailureRegistry(() => ledger.failures, clock);
  }

  /**
   * The lane's fence, taken if need be; once, however many ask at the same time: each taking would fence the one before.
   * What an earlier owner had committed and not produced is produced first. Where the holder has read records of a later
   * leader than the fence knows of, whose log lacks records that the fence has passed, it is lowered.
   * @throws FencedError if it was, or may have been, lost to somebody else in this assignment, and the holder is not a
   * confirmed member: it would fence its successor.
   */
  async take(lane: Lane, holder: FenceHolder): Promise<Fence> {
    const held = await this.holding(lane, holder);
    const { log } = holder;
    if (!log || !isBehind(held.fence!, log.leaderEpoch)) return held.fence!;
    held.following ??= this.follow(held, holder, log).finally(() => (held.following = undefined));
    await held.following;
    return this.take(lane, holder);
  }

  /** As `take`, whether or not it is held: nothing of this process may be at work in the lane. */
  takeAnew(lane: Lane, holder: FenceHolder): Promise<Fence> {
    this.held.delete(laneName(lane));
    return this.take(lane, holder);
  }

  /** A commit moved the fence. */
  advance(fence: Fence, nextOffset: bigint): void {
    const held = this.heldUnder(fence);
    if (held?.fence && held.fence.nextOffset < nextOffset) held.fence = { ...held.fence, nextOffset };
  }

  /**
   * A transaction did this with letters. Those that ended have rows, which also tells of positions above the fence: an
   * owner that shared the lane may have parked them there.
   */
  parkingCommitted(work: ParkingWork): void {
    this.parking.committed(work);
    const held = this.heldUnder(work.fence);
    for (const { offset } of work.removed) {
      if (held?.fence && held.fence.rowsBelow <= offset)
        held.fence = { ...held.fence, rowsBelow: offset + 1n };
    }
  }

  /**
   * Everything of the partition below `offset` is done and acknowledged: fences that stand lower, as those of shared lanes
   * do, move up. Never rejects: what comes back meanwhile is told by the rows.
   * @param leaderEpoch not lower than that of any record below. Fences that are behind it stay: what they pass must not be
   * of a later leader than they know of.
   */
  async doneBelow(
    { group, topicId, partition }: LanePartition,
    offset: bigint,
    leaderEpoch: number | undefined,
  ): Promise<void> {
    const lower = [...this.held.values()].flatMap(({ fence }) => {
      if (!fence || fence.nextOffset >= offset || isBehind(fence, leaderEpoch)) return [];
      const { lane } = fence;
      const isOf = lane.scope.group === group && lane.topicId === topicId && lane.partition === partition;
      return isOf ? [fence] : [];
    });
    await Promise.allSettled(
      lower.map(async (fence) => {
        await this.ledger.moveFence(fence, offset);
        this.advance(fence, offset);
      }),
    );
  }

  /**
   * What is known of the fence may be wrong: the next use takes it anew. `why`: we were fenced, or a commit failed, which
   * may come to the same. A successor that waits for an owner who stands still ends his connection.
   */
  forget(fence: Fence, why: unknown): void {
    const held = this.heldUnder(fence);
    if (!held) return;
    const name = laneName(fence.lane);
    this.held.delete(name);
    if (why !== undefined) this.doubtful.set(name, held.rebalanceId);
  }

  /** Resolves when it is taken. */
  private async holding(lane: Lane, holder: FenceHolder): Promise<Held> {
    const name = laneName(lane);
    let held = this.held.get(name);
    if (held?.rebalanceId !== holder.rebalanceId) {
      held = { rebalanceId: holder.rebalanceId, taking: this.takeNow(lane, holder), fence: undefined };
      this.held.set(name, held);
    }
    if (held.fence) return held;
    try {
      const fence = await held.taking;
      held.fence ??= fence;
      return held;
    } catch (error) {
      if (this.held.get(name) === held) this.held.delete(name);
      throw error;
    }
  }

  private async takeNow(lane: Lane, holder: FenceHolder): Promise<Fence> {
    const isDoubtful = this.doubtful.get(laneName(lane)) === holder.rebalanceId;
    if (isDoubtful && !(await isConfirmed(holder))) {
      const { topic, partition, scope } = lane;
      throw new FencedError(
        `${topic}[${partition}] may have been taken from ${scope.handler} by another process, and this one is not known to ` +
          'be a member of its group any more',
      );
    }
    const { fence, undispatched, parked } = await this.ledger.takeFence(lane, () => holder.confirm());
    if (undispatched.length > 0) await this.dispatcher.dispatch(undispatched, holder.produce);
    this.parking.load(lane, parked);
    await this.failures.load(fence, fence.nextOffset);
    const leaderEpoch = holder.log && firstEpoch(fence, holder.log);
    if (leaderEpoch === undefined) return fence;
    try {
      await this.ledger.truncations.follow(fence, leaderEpoch);
    } catch (error) {
      if (error instanceof FencedError) this.doubtful.set(laneName(lane), holder.rebalanceId);
      throw error;
    }
    return { ...fence, leaderEpoch };
  }

  /**
   * Has the fence follow its log to the leader that records were read of, none of which is claimed before; or has it
   * lowered, and taken anew, if that log lacks what it has passed.
   */
  private async follow(held: Held, holder: FenceHolder, log: LaneLog): Promise<void> {
    const fence = held.fence!;
    const leaderEpoch = log.leaderEpoch!;
    try {
      const end = await lostFrom(fence, log);
      if (end === undefined) {
        await this.ledger.truncations.follow(fence, leaderEpoch);
        held.fence = { ...held.fence!, leaderEpoch };
      } else {
        await lowerFence(this.ledger, fence, end, holder, this.log);
        this.forget(fence, undefined);
      }
    } catch (error) {
      if (error instanceof FencedError) this.forget(fence, error);
      throw error;
    }
  }

  /** What is held under the very epoch: a newer one is not concerned. */
  private heldUnder({ lane, epoch }: Fence): Held | undefined {
    const held = this.held.get(laneName(lane));
    return held?.fence?.epoch === epoch ? held : undefined;
  }
}

/** Whoever can't ask is not confirmed. */
async function isConfirmed(holder: FenceHolder): Promise<boolean> {
  try {
    return await holder.confirm();
  } catch {
    return false;
  }
}

function laneName({ scope, topicId, topic, partition }: Lane): string {
  return JSON.stringify([scope.group, scope.handler, topicId, topic, partition]);
}
