import { ExecutionInWorkError, FencedError } from '../errors/errors.js';
import type { Conclusion, KnownExecution } from '../execution/ledger.js';
import type { Clock } from '../runtime/clock.js';
import {
  executionName,
  knownExecution,
  laneName,
  type InMemoryLedgerStore,
  type StoredExecution,
} from './in-memory-ledger-store.js';

/** See `Ledger.conclude`. `owner` is the ledger that is asked to. Locks stay until the caller releases them. */
export async function conclude(
  store: InMemoryLedgerStore,
  clock: Clock,
  owner: string,
  lock: (name: string) => Promise<void>,
  conclusion: Conclusion,
): Promise<KnownExecution | undefined> {
  const { lane, epoch } = conclusion.fence;
  const { fences, executions, claims } = store;
  const lanes = laneName(lane);
  const key = executionName(lane.scope, conclusion.execution.key);
  await lock(lanes);
  const fence = fences.get(lanes);
  if (fence === undefined || fence.epoch !== epoch) {
    throw new FencedError(`Epoch ${epoch} of ${lanes} was superseded, nothing was stored`);
  }
  await lock(key);
  const known = executions.get(key);
  const claim = claims.get(key);
  if (claim !== undefined && claim.leaseUntil > clock.now()) {
    throw new ExecutionInWorkError(`The execution ${key} is in work elsewhere`);
  }
  const past = conclusion.execution.offset + 1n;
  const nextOffset = past > fence.nextOffset ? past : fence.nextOffset;
  fences.set(lanes, { ...fence, nextOffset, previousOffset: fence.nextOffset });
  if (known !== undefined && known.state !== 'claimed') {
    if (isAt(known, conclusion)) return undefined;
    if (known.state !== 'failed' || conclusion.state !== 'failed') return knownExecution(known);
  }
  claims.delete(key);
  write(store, clock.now(), key, conclusion);
  store.committed({
    owner,
    fences: [{ lane, epoch, epochInForce: fence.epoch, nextOffset }],
    executions: [executions.get(key)!],
    rows: [],
    outbox: conclusion.outbox === null ? [] : [conclusion.outbox],
  });
  return undefined;
}

function write(store: InMemoryLedgerStore, now: number, name: string, conclusion: Conclusion): void {
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
  if (deadLetter !== null) store.deadLetters.set(name, { ...deadLetter, lane, executionKey: key, offset });
  if (outbox !== null) store.addOutbox(lane, outbox, now);
}

function isAt(known: StoredExecution, { fence: { lane }, execution }: Conclusion): boolean {
  return (
    known.topicId === lane.topicId && known.partition === lane.partition && known.offset === execution.offset
  );
}
