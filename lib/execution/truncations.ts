import type { Log } from '../runtime/log.js';
import type { FenceHolder, FenceRegistry } from './fence-registry.js';
import type { Ledger } from './ledger.js';
import type { LanePartition } from './ledger-truncations.js';
import { lowerFence, reaches } from './lower-fence.js';

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
      await lowerFence(this.ledger, fence, end, holder, this.log);
      // Taken again, it tells what else has changed.
      this.fences.forget(fence, undefined);
    }
  }
}
