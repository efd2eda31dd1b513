import assert from 'node:assert/strict';
import type { ErrorCode } from '../../errors/kafka-transport.error.js';
import type {
  ClaimVerdict,
  Conclusion,
  ExecutionClaim,
  Fence,
  GroupWork,
  KnownExecution,
  Lane,
  Ledger,
  OutboxRecord,
} from '../../execution/ledger.js';
import { systemClock, sleep } from '../../runtime/clock.js';

/** What a test runner brings; jest, vitest, mocha and node:test all fit. */
export interface ContractRunner {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void>, timeout?: number): void;
  beforeEach(body: () => Promise<void>): void;
  afterEach(body: () => Promise<void>): void;
}

/** A database of one test's own, and what a test needs to look into it. */
export interface LedgerContractWorld {
  /** Another ledger over the same database, opened: another process. `dispose` closes it. */
  openLedger(): Promise<Ledger>;
  /** A handler's write through a transaction's `client`. */
  write(client: unknown, text: string): Promise<void>;
  /** A statement of a handler that fails: rejects, as its handler would see it. */
  fail(client: unknown): Promise<unknown>;
  /** What handlers' writes have been committed, in any order. */
  written(): Promise<string[]>;
  /** The process that announced a member dies, as far as the database can tell. */
  die(memberId: string): Promise<void>;
  dispose(): Promise<void>;
}

export type LedgerContractSetup = () => Promise<LedgerContractWorld>;

/** How the tests of one area get at the world of the test that is running. */
export type CurrentWorld = () => LedgerContractWorld;

export const always = () => Promise.resolve(true);
export const nothing: GroupWork = { releases: [], replies: [], outbox: [] };

/** A lane that no other test uses. */
export function newLane(overrides: Partial<Lane> = {}): Lane {
  const suffix = systemClock.uuid().slice(-8);
  return {
    scope: { group: `group-${suffix}`, handler: 'Orders.onPlaced' },
    topic: `orders-${suffix}`,
    topicId: systemClock.uuid(),
    partition: 0,
    ...overrides,
  };
}

export function claimOf(key: string | Buffer, offset: bigint | number = 0, fingerprint = 7n): ExecutionClaim {
  return { key: typeof key === 'string' ? Buffer.from(key) : key, fingerprint, offset: BigInt(offset) };
}

export function outboxOf(overrides: Partial<OutboxRecord> = {}): OutboxRecord {
  return {
    id: systemClock.uuid(),
    topic: 'invoices',
    partition: null,
    key: Buffer.from('key'),
    value: Buffer.from('value'),
    headers: [],
    ...overrides,
  };
}

export function conclusionOf(
  fence: Fence,
  execution: ExecutionClaim,
  overrides: Partial<Conclusion> = {},
): Conclusion {
  return {
    fence,
    isShared: false,
    execution,
    state: 'failed',
    attempts: 3,
    error: { name: 'TypeError', message: 'no such account' },
    reply: null,
    deadLetter: null,
    outbox: null,
    ...overrides,
  };
}

export function knownOf(
  lane: Lane,
  { offset, fingerprint }: ExecutionClaim,
  state: KnownExecution['state'] = 'completed',
): KnownExecution {
  return { state, fingerprint, topicId: lane.topicId, partition: lane.partition, offset };
}

/** Claims in a transaction of its own and commits it. Resolves with the verdicts. */
export async function run(
  ledger: Ledger,
  fence: Fence,
  executions: readonly ExecutionClaim[],
  work: Partial<GroupWork> = {},
  advanceTo = fence.nextOffset,
): Promise<ClaimVerdict[]> {
  const transaction = ledger.transaction();
  try {
    const verdicts = await transaction.claim({ fence, advanceTo, executions });
    await transaction.commit({ ...nothing, ...work });
    return verdicts;
  } finally {
    await transaction.rollback();
  }
}

/** What the ledger says about keys, without changing anything. */
export async function look(
  ledger: Ledger,
  fence: Fence,
  executions: readonly ExecutionClaim[],
): Promise<ClaimVerdict[]> {
  const transaction = ledger.transaction();
  try {
    return await transaction.claim({ fence, advanceTo: fence.nextOffset, executions });
  } finally {
    await transaction.rollback();
  }
}

/** Whether a promise is still pending after time enough for several round trips. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const outcome = await Promise.race([
    promise.then(
      () => 'settled',
      () => 'settled',
    ),
    sleep(systemClock, 150).then(() => 'pending'),
  ]);
  return outcome === 'pending';
}

/** By code and not by class: test runners load modules into realms of their own. */
export async function rejectsWith(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error: { code?: unknown; message?: unknown }) => {
    assert.equal(error.code, code, String(error.message));
    return true;
  });
}
