import { FencedError, LedgerUnreachableError } from '../errors/errors.js';
import type { Conclusion, KnownExecution } from '../execution/ledger.js';
import {
  executionName,
  knownExecution,
  laneName,
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
  const { locks, fences, executions } = store;
  const lock = {};
  const forget = store.whenDisconnected(() => locks.cancel(lock, unreachable()));
  const key = executionName(lane.scope, conclusion.execution.key);
  try {
    await locks.acquire(laneName(lane), lock);
    const fence = fences.get(laneName(lane));
    if (fence === undefined || fence.epoch !== epoch) {
      throw new FencedError(`Epoch ${epoch} of ${laneName(lane)} was superseded, nothing was stored`);
    }
    await locks.acquire(key, lock);
    const past = conclusion.execution.offset + 1n;
    const nextOffset = past > fence.nextOffset ? past : fence.nextOffset;
    fences.set(laneName(lane), { ...fence, nextOffset, previousOffset: fence.nextOffset });
    const known = executions.get(key);
    if (known !== undefined) {
      if (isAt(known, conclusion)) return undefined;
      if (known.state !== 'failed' || conclusion.state !== 'failed') return knownExecution(known);
    }
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

function unreachable(): LedgerUnreachableError {
  return new LedgerUnreachableError('The in-memory ledger is disconnected; nothing was stored');
}

function isAt(known: StoredExecution, { fence: { lane }, execution }: Conclusion): boolean {
  return (
    known.topicId === lane.topicId && known.partition === lane.partition && known.offset === execution.offset
  );
}
