import {
  CommitUnknownError,
  ExecutionInWorkError,
  FencedError,
  LedgerUnreachableError,
} from '../errors/errors.js';
import type { Completion, HeldLane, HoldVerdict, LedgerClaims } from '../execution/claims.js';
import type { LetterPlace, ParkingWork } from '../execution/ledger-parking.js';
import type { ExecutionClaim, KnownExecution } from '../execution/ledger.js';
import { createClaimStatements, type ClaimStatements } from './claim-statements.js';
import { fencedMessage } from './claim-lane.js';
import { storeOutbox, storeReplies } from './group-work.js';
import { knownExecution } from './known-execution.js';
import { COMMIT, type LedgerPool } from './ledger-pool.js';
import { byteaArray, plainArray, type Parameter } from './parameters.js';
import { parkingError, storeParking } from './parking-work.js';
import type { Row } from './result-types.js';
import type { ScopeIds } from './scope-ids.js';
import type { BatchResult, Call, Session } from './session.js';
import type { Statement, Statements } from './statements.js';

/** How often keys may be taken, and then not be there: they are given back while we look. */
const MAX_ROUNDS = 5;

interface Parts {
  readonly pool: LedgerPool;
  readonly scopes: ScopeIds;
}

export class PostgresClaims implements LedgerClaims {
  private readonly own: ClaimStatements;

  /**
   * @param instance who holds what this process claims, for people.
   * @param parts asked for at each call: there are none before the ledger is open.
   */
  constructor(
    schema: string,
    prepare: boolean,
    private readonly statements: Statements,
    private readonly instance: string,
    private readonly parts: () => Parts,
  ) {
    this.own = createClaimStatements(schema, prepare);
  }

  async claim(lane: HeldLane, executions: readonly ExecutionClaim[], lease: number): Promise<HoldVerdict[]> {
    const verdicts = new Map<string, HoldVerdict>();
    let missing = [...executions].sort((left, right) => left.key.compare(right.key));
    for (let round = 1; missing.length > 0; round++) {
      if (round > MAX_ROUNDS)
        throw new LedgerUnreachableError('Executions keep changing while they are claimed; try again');
      for (const key of await this.hold(this.own.hold, lane, missing, lease)) verdicts.set(key, 'claimed');
      const taken = missing.filter(({ key }) => !verdicts.has(key.toString('hex')));
      // New keys need one round trip, and are most of them.
      if (taken.length > 0) await this.lookAt(lane, taken, lease, verdicts);
      missing = missing.filter(({ key }) => !verdicts.has(key.toString('hex')));
    }
    return executions.map(({ key }) => verdicts.get(key.toString('hex'))!);
  }

  async reclaim({ fence, token }: HeldLane, { key, offset }: ExecutionClaim, lease: number): Promise<void> {
    const { pool, scopes } = this.parts();
    const { lane, epoch } = fence;
    const place = [await scopes.of(lane.scope), lane.topicId, lane.partition, String(epoch)];
    const { rows } = await pool.transaction([
      [this.own.holdFailed, [...place, key, String(offset), token, this.instance, lease]],
    ]);
    const answer = rows[0]![0]!;
    if (answer['in_lane'] !== '1') throw new FencedError(fencedMessage(lane, epoch));
    if (answer['taken'] !== '1') {
      throw new ExecutionInWorkError('Somebody else took the failed execution over first');
    }
  }

  async renew(tokens: readonly string[], lease: number): Promise<Map<string, Set<string>>> {
    const held = new Map(tokens.map((token) => [token, new Set<string>()]));
    const { rows } = await this.parts().pool.transaction([[this.own.renew, [plainArray(tokens), lease]]]);
    for (const row of rows[0]!) {
      held.get(row['owner'] as string)?.add((row['key'] as Buffer).toString('latin1'));
    }
    return held;
  }

  async complete(completion: Completion): Promise<Buffer[]> {
    const { pool } = this.parts();
    return pool.use(async (session) => {
      try {
        return await this.completeIn(session, pool, completion);
      } catch (error) {
        await session.rollback();
        throw error;
      }
    });
  }

  async release(token: string, keys: readonly Buffer[]): Promise<void> {
    if (keys.length === 0) return;
    await this.parts().pool.transaction([[this.own.release, [token, byteaArray(keys)]]]);
  }

  /** Runs `hold` or `takeOver`; resolves with the keys that are ours now, in hex. */
  private async hold(
    statement: Statement,
    lane: HeldLane,
    executions: readonly ExecutionClaim[],
    lease: number,
    also: readonly Call[] = [],
    onRows?: (rows: readonly Row[]) => void,
  ): Promise<string[]> {
    const { pool } = this.parts();
    const values = [...(await this.place(lane)), ...columns(executions), lane.token, this.instance, lease];
    const { rows } = await pool.transaction([[statement, values], ...also]);
    if (rows[1]) onRows?.(rows[1]);
    return keysIn(lane, rows[0]![0]!);
  }

  /** Takes over those of `taken` whose lease is over, and finds out about the others. */
  private async lookAt(
    lane: HeldLane,
    taken: readonly ExecutionClaim[],
    lease: number,
    verdicts: Map<string, HoldVerdict>,
  ): Promise<void> {
    const scopeId = await this.parts().scopes.of(lane.fence.lane.scope);
    const find: Call = [this.statements.findExecutions, [scopeId, byteaArray(taken.map(({ key }) => key))]];
    const found = new Map<string, KnownExecution>();
    const ours = await this.hold(this.own.takeOver, lane, taken, lease, [find], (rows) => {
      for (const row of rows) found.set((row['key'] as Buffer).toString('hex'), knownExecution(row));
    });
    for (const [key, known] of found) verdicts.set(key, known);
    for (const key of ours) verdicts.set(key, 'resumed');
  }

  private async completeIn(session: Session, pool: LedgerPool, completion: Completion): Promise<Buffer[]> {
    const { scopes } = this.parts();
    const { fence, token, completed, nextOffset } = completion;
    const { lane } = fence;
    const place = await this.place(completion);
    const executions = completed
      .map(({ execution }) => execution)
      .sort((left, right) => left.key.compare(right.key));
    const first = await session.batch([
      pool.begin(),
      [this.own.complete, [...place, ...columns(executions), token]],
    ]);
    if (first.error !== undefined) throw first.error;
    const answer = first.rows[1]![0]!;
    const ours = new Set(keysIn(completion, answer));
    const isOurs = ({ execution }: Completion['completed'][number]) =>
      ours.has(execution.key.toString('hex'));
    const kept = completed.filter(isOurs);
    const lost = completed.filter((each) => !isOurs(each)).map(({ execution }) => execution);
    const reached = lost.reduce((least, { offset }) => (offset < least ? offset : least), nextOffset);
    const replies = kept.flatMap(({ execution: { key }, reply }) =>
      reply ? [{ scope: lane.scope, key, body: reply }] : [],
    );
    const outbox = kept.flatMap((each) => each.outbox.map((record) => ({ lane, record })));
    const calls: Call[] = [
      [this.statements.moveFence, [...place, String(reached)]],
      ...(await storeReplies(replies, this.statements, scopes)),
      ...(await storeOutbox(outbox, this.statements, scopes)),
      ...(await storeParking(keptParking(completion, lost), this.statements, scopes)),
    ];
    if (pool.noteSynchronousCommit(answer['synchronous_commit']))
      calls.unshift([{ text: 'set local synchronous_commit = on' }]);
    expectCommitted(pool, session, await session.batch([...calls, COMMIT]));
    return lost.map(({ key }) => key);
  }

  private async place({ fence: { lane, epoch } }: HeldLane): Promise<Parameter[]> {
    return [await this.parts().scopes.of(lane.scope), lane.topicId, lane.partition, String(epoch)];
  }
}

function columns(executions: readonly ExecutionClaim[]): Parameter[] {
  return [
    byteaArray(executions.map(({ key }) => key)),
    plainArray(executions.map(({ fingerprint }) => fingerprint)),
    plainArray(executions.map(({ offset }) => offset)),
  ];
}

/** What is lost is somebody else's to remove. */
function keptParking({ parking }: Completion, lost: readonly ExecutionClaim[]): ParkingWork[] {
  if (!parking) return [];
  const isLost = (place: LetterPlace) => lost.some(({ offset }) => offset === place.offset);
  return [{ ...parking, removed: parking.removed.filter((place) => !isLost(place)) }];
}

/** @throws FencedError */
function keysIn({ fence: { lane, epoch } }: HeldLane, answer: Row): string[] {
  if (answer['in_lane'] !== '1') throw new FencedError(fencedMessage(lane, epoch));
  return answer['keys'] === null ? [] : String(answer['keys']).split(',');
}

function expectCommitted(
  pool: LedgerPool,
  session: Session,
  { error, command, lastSent }: BatchResult,
): void {
  if (error === undefined && command === 'COMMIT') return;
  if (session.broken && lastSent) throw new CommitUnknownError({ cause: error });
  throw (
    parkingError(error) ??
    new LedgerUnreachableError(`Postgres at ${pool.target} rolled back instead of committing`)
  );
}
