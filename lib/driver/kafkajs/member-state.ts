/**
 * - `unjoined`: before the first join.
 * - `joining`, `syncing`: a rebalance; nothing is held.
 * - `stable`: holding partitions; heartbeats.
 * - `revoking`: still holding and heartbeating, while the listener lets go.
 * - `waiting`: backing off after a failure; nothing is held.
 * - `left`: the end.
 */
export type MemberState = 'unjoined' | 'joining' | 'syncing' | 'stable' | 'revoking' | 'waiting' | 'left';

const TRANSITIONS: Readonly<Record<MemberState, readonly MemberState[]>> = {
  unjoined: ['joining', 'left'],
  joining: ['syncing', 'waiting', 'left'],
  syncing: ['stable', 'waiting', 'left'],
  stable: ['revoking'],
  revoking: ['joining', 'waiting', 'left'],
  waiting: ['joining', 'left'],
  left: [],
};

/** @throws Error for a step that the table does not have: a mistake in the driver. */
export function changeState(from: MemberState, to: MemberState): MemberState {
  if (!TRANSITIONS[from].includes(to)) throw new Error(`A group member can't go from ${from} to ${to}`);
  return to;
}
