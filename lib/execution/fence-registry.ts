import type { Clock } from '../runtime/clock.js';
import { FailureRegistry } from './failure-registry.js';
import type { Fence, Lane, Ledger } from './ledger.js';
import type { OutboxDispatcher, RecordProducer } from './outbox-dispatcher.js';

/** Who asks for a fence: a member of the consumer group, for as long as it holds the partition. */
export interface FenceHolder {
  /** Another number after each rebalance. */
  readonly rebalanceId: number;
  /** Asks the coordinator whether the holder is still a member. */
  confirm(): Promise<boolean>;
  produce: RecordProducer;
}

interface Held {
  readonly rebalanceId: number;
  fence: Fence;
}

/** The fences that this process holds: taken once per lane and assignment, known from then on without asking. */
export class FenceRegistry {
  private readonly held = new Map<string, Held>();

  /** Of the records of these lanes. */
  readonly failures: FailureRegistry;

  constructor(
    private readonly ledger: Ledger,
    private readonly dispatcher: OutboxDispatcher,
    clock: Clock,
  ) {
    this.failures = new FailureRegistry(() => ledger.failures, clock);
  }

  /** The lane's fence, taken if need be. What an earlier owner had committed and not produced is produced first. */
  async take(lane: Lane, holder: FenceHolder): Promise<Fence> {
    const name = laneName(lane);
    const held = this.held.get(name);
    if (held?.rebalanceId === holder.rebalanceId) return held.fence;
    const { fence, undispatched } = await this.ledger.takeFence(lane, () => holder.confirm());
    if (undispatched.length > 0) await this.dispatcher.dispatch(undispatched, holder.produce);
    await this.failures.load(fence, fence.nextOffset);
    this.held.set(name, { rebalanceId: holder.rebalanceId, fence });
    return fence;
  }

  /** A commit moved the fence. */
  advance(fence: Fence, nextOffset: bigint): void {
    const held = this.held.get(laneName(fence.lane));
    if (held?.fence.epoch === fence.epoch) held.fence = { ...fence, nextOffset };
  }

  /** What is known of the fence may be wrong (fenced, or a commit with unknown end): the next use takes it anew. */
  forget(lane: Lane): void {
    this.held.delete(laneName(lane));
  }
}

function laneName({ scope, topicId, topic, partition }: Lane): string {
  return JSON.stringify([scope.group, scope.handler, topicId, topic, partition]);
}
