import { FencedError } from '../errors/errors.js';
import type { Log } from '../runtime/log.js';
import type { FenceHolder, FenceRegistry } from './fence-registry.js';
import type { Fence, Ledger } from './ledger.js';
import type { LanePartition } from './ledger-truncations.js';

/**
 * Has the ledger follow a partition whose log lost its end. To be done before anything is handled that came since: from then
 * on nobody can tell by offsets which records a fence has passed.
 */
export class Truncations {
  constructor(
    private readonly ledger: Ledger,
    private readonly fences: FenceRegistry,
    private readonly log: Log,
  ) {}

  /**
   * All that the group did in the partition from `end` on was about records that are gone. Nothing of it may be at work.
   * @throws FencedError if the holder is no confirmed member: others may have handled what came since
   */
  async follow(partition: LanePartition, end: bigint, holder: FenceHolder): Promise<void> {
    for (const lane of await this.ledger.truncations.lanesOf(partition)) {
      const fence = await this.fences.takeAnew(lane, holder);
      if (!reaches(fence, end)) continue;
      // Under an epoch of its own, and a member after it was taken: nobody else has had the lane since its log lost its end.
      if (!(await holder.confirm())) {
        throw new FencedError(
          `${lane.topic}[${lane.partition}] is not known to be this process's any more: its fences stay as they are`,
        );
      }
      await this.ledger.truncations.lower(fence, end);
      // Taken again, it tells what else has changed.
      this.fences.forget(fence, undefined);
      this.log.warn(fenceLowered(fence, end));
    }
  }
}

function reaches({ rowsBelow, inWork = [] }: Fence, end: bigint): boolean {
  return rowsBelow > end || inWork.some((offset) => offset >= end);
}

export function fenceLowered({ lane, nextOffset, rowsBelow }: Fence, end: bigint): string {
  const { scope, topic, partition } = lane;
  const upTo = nextOffset > rowsBelow ? nextOffset : rowsBelow;
  return (
    `${topic}[${partition}] of handler ${scope.handler} in group "${scope.group}": its records up to offset ${upTo} were ` +
    `handled, and the broker has lost those from ${end} on. What comes at these offsets now is new, and is handled.`
  );
}
