import { randomUUID } from 'node:crypto';
import type { ExecutionClaim, GroupWork, Lane } from '../../lib/execution/ledger.js';

export const nothing: GroupWork = { releases: [], replies: [], outbox: [] };

export function newLane(overrides: Partial<Lane> = {}): Lane {
  return {
    scope: { group: 'billing', handler: 'Orders.onPlaced' },
    topic: 'orders',
    topicId: randomUUID(),
    partition: 0,
    ...overrides,
  };
}

/** A claim under a key that a person chose. */
export function claimOf(key: string, offset = 0): ExecutionClaim {
  return { key: Buffer.from(`g${key}`), fingerprint: 7n, offset: BigInt(offset) };
}

export const always = () => Promise.resolve(true);
