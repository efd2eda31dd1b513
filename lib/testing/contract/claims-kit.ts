import assert from 'node:assert/strict';
import type { CompletedClaim, HeldLane, HoldVerdict } from '../../execution/claims.js';
import type { ExecutionClaim, Fence, Ledger } from '../../execution/ledger.js';
import { systemClock } from '../../runtime/clock.js';
import { always, newLane, type LedgerContractWorld } from './ledger-contract-world.js';
import { stepOf } from './ledger-steps.contract.js';

/** A lease that no test sees the end of, milliseconds. */
export const LONG = 60_000;

export const under = (fence: Fence): HeldLane => ({ fence, token: systemClock.uuid() });

export function completed(
  execution: ExecutionClaim,
  { reply, outbox = [] }: { reply?: string; outbox?: CompletedClaim['outbox'] } = {},
): CompletedClaim {
  return { execution, reply: reply === undefined ? undefined : Buffer.from(reply), outbox };
}

/** Two ledgers, each with a lane of one scope. */
export async function twins(world: LedgerContractWorld) {
  const [ledger, other] = [await world.openLedger(), await world.openLedger()];
  const { fence } = await ledger.takeFence(newLane(), always);
  const { fence: otherFence } = await other.takeFence({ ...fence.lane, partition: 1 }, always);
  return { ledger, lane: under(fence), other, otherLane: under(otherFence) };
}

export async function verdict(
  ledger: Ledger,
  lane: HeldLane,
  execution: ExecutionClaim,
  lease = LONG,
): Promise<HoldVerdict> {
  return (await ledger.claims.claim(lane, [execution], lease))[0]!;
}

/** Claims for no time at all. */
export async function abandoned(ledger: Ledger, lane: HeldLane, execution: ExecutionClaim): Promise<void> {
  assert.equal(await verdict(ledger, lane, execution, 0), 'claimed');
}

export function record(ledger: Ledger, { fence, token }: HeldLane, key: string, name: string): Promise<void> {
  return ledger.steps.record({
    scope: fence.lane.scope,
    key: Buffer.from(key),
    step: stepOf(0, name),
    token,
  });
}

export async function stepsOf(ledger: Ledger, { fence }: HeldLane, key: string): Promise<string[]> {
  return (await ledger.steps.find(fence.lane.scope, Buffer.from(key))).map(({ name }) => name);
}

export async function replyOf(ledger: Ledger, { fence }: HeldLane, key: string): Promise<string | undefined> {
  return (await ledger.findReplies(fence.lane.scope, [Buffer.from(key)])).get(key)?.toString();
}
