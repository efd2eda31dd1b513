import { LedgerUnreachableError } from '../errors/errors.js';
import type { FenceTaken, Lane } from '../execution/ledger.js';
import type { Log } from '../runtime/log.js';
import { outboxRecord } from './group-work.js';
import { sqlState } from './ledger-connection-error.js';
import type { LedgerPool } from './ledger-pool.js';
import type { ScopeIds } from './scope-ids.js';
import type { Statements } from './statements.js';

const LOCK_NOT_AVAILABLE = '55P03';

/** How long one wait for the previous owner's transaction lasts before something is done about it. */
const PATIENCE = '5s';

/** Waits in a row; a minute in all. */
const MAX_WAITS = 12;

/**
 * Takes the next epoch of a lane in one round trip. Where an open transaction holds the fence, it waits in turns; between
 * them a confirmed member ends the backend that holds it.
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
  const patience = [{ text: `set local lock_timeout = '${PATIENCE}'` }] as const;
  const name = `${lane.topic}[${lane.partition}] of handler ${lane.scope.handler} in group "${lane.scope.group}"`;
  for (let wait = 1; ; wait++) {
    try {
      const { rows } = await pool.transaction([
        patience,
        [statements.takeFence, [...position, lane.topic, owner]],
        // A statement of its own: it must see what the previous owner committed while we waited.
        [statements.findUndispatched, [...position, lane.topic]],
        [statements.findInWork, position],
      ]);
      const taken = rows[1]![0]!;
      const inWork = rows[3]!.map((row) => BigInt(row['record_offset'] as string));
      return {
        fence: {
          lane,
          epoch: BigInt(String(taken['epoch'])),
          nextOffset: BigInt(String(taken['next_offset'])),
          ...(inWork.length > 0 && { inWork }),
        },
        undispatched: rows[2]!.map(outboxRecord),
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
    const ended = await pool.transaction([patience, [statements.endFenceHolder, position]]);
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
