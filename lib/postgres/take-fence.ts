import { LedgerUnreachableError } from '../errors/errors.js';
import type { FenceTaken, Lane } from '../execution/ledger.js';
import { MAX_OFFSET, positionKey } from '../messages/idempotency-key.js';
import type { Log } from '../runtime/log.js';
import { outboxRecord } from './group-work.js';
import { sqlState } from './ledger-connection-error.js';
import type { LedgerPool } from './ledger-pool.js';
import type { ScopeIds } from './scope-ids.js';
import type { Statements } from './statements.js';

const LOCK_NOT_AVAILABLE = '55P03';

/** How long one wait for the previous owner's transaction lasts before something is done about it. */
export const PATIENCE = '5s';

/** Waits in a row; a minute in all. */
const MAX_WAITS = 12;

/**
 * Takes the next epoch of a lane in one round trip. Where open transactions hold the fence, or share the lane, it waits in
 * turns; between them a confirmed member ends the backends that do.
 */
export async function takeFence(
  pool: LedgerPool,
  statements: Statements,
  scopes: ScopeIds,
  lane: Lane,
  owner: string,
  confirm: () => Promise<boolean>,
  log: Log,
): Promise<FenceTaken> {
  const scopeId = await scopes.of(lane.scope);
  const position = [scopeId, lane.topicId, lane.partition];
  const lock = statements.laneLock(scopeId, lane);
  const highest = positionKey(lane.topicId, lane.partition, MAX_OFFSET).encoded;
  const lowest = positionKey(lane.topicId, lane.partition, 0n).encoded;
  const patience = [{ text: `set local lock_timeout = '${PATIENCE}'` }] as const;
  const name = `${lane.topic}[${lane.partition}] of handler ${lane.scope.handler} in group "${lane.scope.group}"`;
  for (let wait = 1; ; wait++) {
    try {
      const { rows } = await pool.transaction([
        patience,
        [statements.lockLane, [lock]],
        [statements.takeFence, [...position, lane.topic, owner]],
        // A statement of its own: it must see what the previous owner committed while we waited.
        [statements.findUndispatched, [...position, lane.topic]],
        [statements.lastPosition, [scopeId, lowest, highest]],
        [statements.findInWork, position],
        [statements.findParked, position],
      ]);
      const taken = rows[2]![0]!;
      const nextOffset = BigInt(String(taken['next_offset']));
      const [last] = rows[4]!;
      const end = last === undefined ? nextOffset : BigInt(String(last['record_offset'])) + 1n;
      const inWork = rows[5]!.map((row) => BigInt(row['record_offset'] as string));
      return {
        fence: {
          lane,
          epoch: BigInt(String(taken['epoch'])),
          nextOffset,
          rowsBelow: end > nextOffset ? end : nextOffset,
          leaderEpoch: taken['leader_epoch'] === null ? undefined : Number(taken['leader_epoch']),
          ...(inWork.length > 0 && { inWork }),
        },
        undispatched: rows[3]!.map(outboxRecord),
        parked: rows[6]!.map((row) => ({
          sequence: row['sequence'] as Buffer,
          letters: Number(row['letters']),
        })),
      };
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      if (wait === MAX_WAITS) {
        throw new LedgerUnreachableError(
          `The fence of ${name} is held by another transaction since ${MAX_WAITS} × ${PATIENCE}. See pg_stat_activity for ` +
            'sessions that are idle in transaction.',
          { cause: error },
        );
      }
    }
    if (!(await confirmed(confirm))) continue;
    const ended = await pool.transaction([patience, [statements.endFenceHolder, [...position, lock]]]);
    const pids = ended.rows[1]!.filter((row) => row['ended'] === 't').map((row) => row['pid']);
    if (pids.length > 0) {
      log.warn(
        `Ended Postgres backend ${pids.join(', ')}: a previous owner's transaction held the fence of ${name} for ${PATIENCE}`,
      );
    }
  }
}

/** Somebody who can't be asked has not confirmed. */
async function confirmed(confirm: () => Promise<boolean>): Promise<boolean> {
  try {
    return await confirm();
  } catch {
    return false;
  }
}

function isLockTimeout(error: unknown): boolean {
  return sqlState((error as { cause?: unknown } | null)?.cause) === LOCK_NOT_AVAILABLE;
}
