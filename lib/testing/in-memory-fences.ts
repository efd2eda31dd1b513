import { FencedError, LedgerUnreachableError } from '../errors/errors.js';
import type { FenceTaken, Lane } from '../execution/ledger.js';
import { positionKey } from '../messages/idempotency-key.js';
import type { Clock } from '../runtime/clock.js';
import { isLeftTo, laneName, type InMemoryLedgerStore } from './in-memory-ledger-store.js';
import { InMemoryTransaction } from './in-memory-transaction.js';

/** Milliseconds that one wait for a previous owner's transaction lasts, and how many there are; as in Postgres. */
const PATIENCE = 5_000;
const MAX_WAITS = 12;
/** Takes the next epoch of a lane for `owner`, once nobody has a transaction in it. */
export async function takeFence(
  store: InMemoryLedgerStore,
  clock: Clock,
  lane: Lane,
  owner: string,
  confirm: () => Promise<boolean>,
): Promise<FenceTaken> {
  const name = laneName(lane);
  const taker = {};
  await lockFence(store, clock, name, taker, confirm);
  const epoch = store.nextEpoch();
  const before = store.fences.get(name);
  const nextOffset = before?.nextOffset ?? 0n;
  const previousOffset = before?.previousOffset ?? 0n;
  const leaderEpoch = before?.leaderEpoch;
  store.fences.set(name, { lane, epoch, nextOffset, previousOffset, owner, leaderEpoch });
  const left = [...store.outbox.values()].filter(
    (stored) => stored.lane !== null && isLeftTo(lane, stored.lane),
  );
  const rowsBelow = endOfPositions(store, lane, nextOffset);
  store.locks.release(name, taker);
  const inWork = [...store.claims.values()]
    .filter((claim) => laneName(claim.lane) === name)
    .map(({ offset }) => offset);
  const fence = { lane, epoch, nextOffset, rowsBelow, leaderEpoch, ...(inWork.length > 0 && { inWork }) };
  return { fence, undispatched: left.map(({ record }) => record), parked: parkedOf(store, lane) };
}

/** Waits in turns for whoever holds the fence; between them a confirmed taker ends the holder. */
async function lockFence(
  store: InMemoryLedgerStore,
  clock: Clock,
  name: string,
  taker: object,
  confirm: () => Promise<boolean>,
): Promise<void> {
  const { locks } = store;
  for (let wait = 1; ; wait++) {
    let timedOut = false;
    const timer = clock.setTimeout(() => {
      timedOut = true;
      locks.cancel(taker, unreachable());
    }, PATIENCE);
    const forget = store.whenDisconnected(() => locks.cancel(taker, unreachable()));
    try {
      await locks.acquire(name, taker);
      return;
    } catch (error) {
      if (!timedOut) throw error;
      if (wait === MAX_WAITS) {
        throw new LedgerUnreachableError(`The fence ${name} is held by another transaction`, {
          cause: error,
        });
      }
    } finally {
      clock.clearTimeout(timer);
      forget();
    }
    const confirmed = await confirm().catch(() => false);
    if (!confirmed) continue;
    for (const holder of locks.holdersOf(name)) if (holder instanceof InMemoryTransaction) holder.break();
  }
}

/** Above the last position in a lane that has a row; at least `nextOffset`. */
function endOfPositions(
  store: InMemoryLedgerStore,
  { scope, topicId, partition }: Lane,
  nextOffset: bigint,
): bigint {
  let end = nextOffset;
  for (const { key, offset, ...other } of store.executions.values()) {
    const isHere = other.topicId === topicId && other.partition === partition && offset >= end;
    if (!isHere || !key.equals(positionKey(topicId, partition, offset).encoded)) continue;
    if (other.scope.group === scope.group && other.scope.handler === scope.handler) end = offset + 1n;
  }
  return end;
}

function parkedOf(store: InMemoryLedgerStore, lane: Lane): FenceTaken['parked'] {
  const own = [...store.parked.values()].filter((parked) => laneName(parked.lane) === laneName(lane));
  return own.map(({ sequence, letters }) => ({ sequence, letters: letters.size }));
}

export function superseded(lane: Lane, epoch: bigint): FencedError {
  return new FencedError(`Epoch ${epoch} of ${laneName(lane)} was superseded, nothing was stored`);
}

export function unreachable(): LedgerUnreachableError {
  return new LedgerUnreachableError('The in-memory ledger is disconnected; nothing was stored');
}
