import { FencedError, LedgerUnreachableError } from '../errors/errors.js';
import type { ClaimVerdict, ExecutionClaim, KnownExecution, Lane, LaneClaim } from '../execution/ledger.js';
import type { FreshKeys } from './fresh-keys.js';
import { knownExecution } from './known-execution.js';
import { sqlState } from './ledger-connection-error.js';
import { byteaArray, plainArray } from './parameters.js';
import type { Row } from './result-types.js';
import type { BatchResult, Call, Session } from './session.js';
import type { Statements } from './statements.js';

/** How often a key may turn out to be taken, and then not to be there: somebody deletes rows while we look. */
const MAX_ROUNDS = 5;
/** SQLSTATE of an insert under a key that has a row. */
const UNIQUE_VIOLATION = '23505';
const ROLLBACK: Call = [{ text: 'rollback' }];

export interface LaneVerdicts {
  readonly verdicts: ClaimVerdict[];
  /** `synchronous_commit` as this session has it. */
  readonly synchronousCommit: unknown;
}

/** What is sent ahead of a claim, in the same round trip. */
export interface ClaimStart {
  readonly calls: readonly Call[];
  /** They begin the transaction: nothing is lost if it begins anew. */
  readonly begins: boolean;
}

/**
 * Moves a lane's fence, or shares it, and claims its keys, in one round trip together with what is sent before; one or two
 * more where some keys are known already. Throws raw errors of the session, and `FencedError`; leaves the transaction to
 * the caller.
 */
export async function claimLane(
  session: Session,
  statements: Statements,
  scopeId: number,
  claim: LaneClaim,
  start: ClaimStart,
  freshKeys: FreshKeys,
): Promise<LaneVerdicts> {
  const first = await claimAtOnce(session, statements, scopeId, claim, start, freshKeys);
  if (first.error !== undefined) throw first.error;
  const answer = first.rows.at(-1)![0]!;
  if (answer['held'] !== '1') throw new FencedError(fencedMessage(claim.fence.lane, claim.fence.epoch));
  const synchronousCommit = answer['synchronous_commit'];
  const { executions } = claim;
  const allNew = Number(answer['claimed']) === executions.length;
  freshKeys.note(scopeId, allNew);
  if (allNew) {
    return { verdicts: executions.map(() => 'claimed'), synchronousCommit };
  }

  const claimed = new Set<string>(keysOf(answer));
  const known = new Map<string, KnownExecution>();
  let missing = executions.filter((execution) => !claimed.has(execution.key.toString('hex')));
  for (let round = 1; missing.length > 0; round++) {
    // A second statement sees what the first one waited for.
    const found = await session.run(statements.findExecutions, [
      scopeId,
      byteaArray(missing.map((execution) => execution.key)),
    ]);
    for (const row of found) known.set((row['key'] as Buffer).toString('hex'), knownExecution(row));
    missing = missing.filter((execution) => !known.has(execution.key.toString('hex')));
    if (missing.length === 0) break;
    if (round === MAX_ROUNDS) {
      throw new LedgerUnreachableError('Executions are being deleted while they are claimed; try again');
    }
    // Not moved a second time: the fence would forget where it stood before, and so could not be given back.
    const again = await session.batch([
      claimCall(statements, scopeId, { ...claim, advanceTo: null }, missing),
    ]);
    if (again.error !== undefined) throw again.error;
    const row = again.rows[0]![0]!;
    const all = Number(row['claimed']) === missing.length;
    const won = new Set(all ? missing.map((execution) => execution.key.toString('hex')) : keysOf(row));
    for (const key of won) claimed.add(key);
    missing = missing.filter((execution) => !won.has(execution.key.toString('hex')));
  }
  return {
    verdicts: executions.map((execution) => known.get(execution.key.toString('hex')) ?? 'claimed'),
    synchronousCommit,
  };
}

/** The first try, as one statement that claims nothing if a key is known; then, or if it would, as one that says which. */
async function claimAtOnce(
  session: Session,
  statements: Statements,
  scopeId: number,
  claim: LaneClaim,
  { calls, begins }: ClaimStart,
  freshKeys: FreshKeys,
): Promise<BatchResult> {
  const { executions } = claim;
  const careful = claimCall(statements, scopeId, claim, executions);
  if (!begins || executions.length === 0 || !freshKeys.areLikely(scopeId))
    return session.batch([...calls, careful]);
  const statement = claim.advanceTo === null ? statements.claimNewShared : statements.claimNew;
  const tried = await session.batch([...calls, [statement, careful[1]]]);
  if (sqlState(tried.error) !== UNIQUE_VIOLATION) return tried;
  return session.batch([ROLLBACK, ...calls, careful]);
}

export function fencedMessage(lane: Lane, epoch: bigint): string {
  return (
    `${lane.topic}[${lane.partition}] of handler ${lane.scope.handler} in group "${lane.scope.group}" is no longer ours: ` +
    `epoch ${epoch} was superseded, nothing was stored`
  );
}

function claimCall(
  statements: Statements,
  scopeId: number,
  { fence, advanceTo }: LaneClaim,
  executions: readonly ExecutionClaim[],
): Call {
  const { lane, epoch } = fence;
  const isShared = advanceTo === null;
  const position = [
    scopeId,
    lane.topicId,
    lane.partition,
    String(epoch),
    isShared ? null : String(advanceTo),
  ];
  if (executions.length === 0 && !isShared) return [statements.moveFence, position];
  const sorted = [...executions].sort((left, right) => left.key.compare(right.key));
  return [
    isShared ? statements.claimShared : statements.claim,
    [
      ...position,
      byteaArray(sorted.map((execution) => execution.key)),
      plainArray(sorted.map((execution) => execution.fingerprint)),
      plainArray(sorted.map((execution) => execution.offset)),
    ],
  ];
}

function keysOf(row: Row): string[] {
  return row['keys'] ? String(row['keys']).split(',') : [];
}
