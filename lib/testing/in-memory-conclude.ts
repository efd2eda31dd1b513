import { ExecutionInWorkError } from '../errors/errors.js';
import type { Conclusion, KnownExecution } from '../execution/ledger.js';
import { superseded, unreachable } from './in-memory-fences.js';
import { removeLetter } from './in-memory-parking.js';
import {
  executionName,
  knownExecution,
  laneName,
  max,
  type InMemoryLedgerStore,
  type StoredExecution,
} from './in-memory-ledger-store.js';

/** `Ledger.conclude` at the database: one transaction that waits for its rows and then does it all. */
export async function conclude(
  store: InMemoryLedgerStore,
  conclusion: Conclusion,
  owner: string,
  now: () => number,
): Promise<KnownExecution | undefined> {
  const { lane, epoch } = conclusion.fence;
  const { locks, fences, executions, claims } = store;
  const lock = {};
  const forget = store.whenDisconnected(() => locks.cancel(lock, unreachable()));
  const key = executionName(lane.scope, conclusion.execution.key);
  try {
    await locks.acquire(laneName(lane), lock, conclusion.isShared ? 'shared' : 'exclusive');
    const fence = fences.get(laneName(lane));
    if (fence === undefined || fence.epoch !== epoch) {
      throw superseded(lane, epoch);
    }
    await locks.acquire(key, lock);
    const claim = claims.get(key);
    if (claim !== undefined && claim.leaseUntil > now()) {
      throw new ExecutionInWorkError(`The execution ${key} is in work elsewhere`);
    }
    const known = executions.get(key);
    const isTaken =
      known !== undefined &&
      known.state !== 'claimed' &&
      (known.state !== 'failed' || conclusion.state !== 'failed') &&
      !isAt(known, conclusion);
    if (isTaken && known.fingerprint !== conclusion.execution.fingerprint) return knownExecution(known);
    const past = conclusion.execution.offset + 1n;
    const nextOffset = conclusion.isShared ? fence.nextOffset : max(past, fence.nextOffset);
    if (!conclusion.isShared) {
      fences.set(laneName(lane), { ...fence, nextOffset, previousOffset: fence.nextOffset });
    }
    if (conclusion.letter) removeLetter(store, lane, conclusion.letter, now());
    if (isTaken) return knownExecution(known);
    if (known !== undefined && known.state !== 'claimed' && isAt(known, conclusion)) return undefined;
    claims.delete(key);
    write(store, key, conclusion, now());
    store.committed({
      owner,
      fences: [{ lane, epoch, epochInForce: fence.epoch, nextOffset }],
      executions: [executions.get(key)!],
      rows: [],
      outbox: conclusion.outbox === null ? [] : [conclusion.outbox],
    });
    return undefined;
  } finally {
    forget();
    locks.releaseAll(lock);
  }
}

function write(store: InMemoryLedgerStore, name: string, conclusion: Conclusion, now: number): void {
  const { fence, execution, state, attempts, error, reply, deadLetter, outbox } = conclusion;
  const { lane } = fence;
  const { scope, topicId, partition } = lane;
  const { fingerprint, offset } = execution;
  const key = Buffer.from(execution.key);
  store.executions.set(name, {
    scope,
    key,
    state,
    fingerprint,
    topicId,
    partition,
    offset,
    attempts,
    error,
    finishedAt: now,
  });
  if (reply !== null) store.replies.set(name, { body: Buffer.from(reply), createdAt: now });
  if (deadLetter !== null) {
    store.deadLetters.set(name, { ...deadLetter, lane, executionKey: key, offset });
  }
  if (outbox !== null) store.addOutbox(lane, outbox, now);
}

function isAt(known: StoredExecution, { fence: { lane }, execution }: Conclusion): boolean {
  return (
    known.topicId === lane.topicId && known.partition === lane.partition && known.offset === execution.offset
  );
}
