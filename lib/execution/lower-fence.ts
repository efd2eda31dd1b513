import { FencedError } from '../errors/errors.js';
import type { Log } from '../runtime/log.js';
import type { Fence, Ledger } from './ledger.js';

/** What the ledger knows of the lane reaches past where its log ends. */
export function reaches({ rowsBelow, nextOffset, inWork = [] }: Fence, end: bigint): boolean {
  return nextOffset > end || rowsBelow > end || inWork.some((offset) => offset >= end);
}

/**
 * Has the ledger know nothing more of what the lane did from `end` on: it was about records that are gone.
 * @param fence taken after the log lost them. It is to be taken anew.
 * @throws FencedError if the holder is no confirmed member: others may have handled what came since
 */
export async function lowerFence(
  ledger: Ledger,
  fence: Fence,
  end: bigint,
  holder: { confirm(): Promise<boolean> },
  log: Log,
): Promise<void> {
  const { lane } = fence;
  // Under an epoch of its own, and a member after it was taken: nobody else has had the lane since its log lost its end.
  if (!(await holder.confirm())) {
    throw new FencedError(
      `${lane.topic}[${lane.partition}] is not known to be this process's any more: its fences stay as they are`,
    );
  }
  await ledger.truncations.lower(fence, end);
  log.warn(fenceLowered(fence, end));
}

export function fenceLowered({ lane, nextOffset, rowsBelow }: Fence, end: bigint): string {
  const { scope, topic, partition } = lane;
  const upTo = nextOffset > rowsBelow ? nextOffset : rowsBelow;
  return (
    `${topic}[${partition}] of handler ${scope.handler} in group "${scope.group}": its records up to offset ${upTo} were ` +
    `handled, and the broker has lost those from ${end} on. What comes at these offsets now is new, and is handled.`
  );
}
