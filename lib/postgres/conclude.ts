import {
  CommitUnknownError,
  ExecutionInWorkError,
  FencedError,
  LedgerUnreachableError,
} from '../errors/errors.js';
import type { Conclusion, KnownExecution } from '../execution/ledger.js';
import { packHeaders } from '../messages/header-packing.js';
import { fencedMessage } from './claim-lane.js';
import { storeOutbox, storeReplies } from './group-work.js';
import { knownExecution } from './known-execution.js';
import { COMMIT, type LedgerPool } from './ledger-pool.js';
import { lanePosition, letterRemoved } from './parking-work.js';
import { byteaArray, storableText } from './parameters.js';
import type { ScopeIds } from './scope-ids.js';
import type { Call, Session } from './session.js';
import type { Statement, Statements } from './statements.js';
import { STATE_NUMBERS } from './stored-values.js';

/** How often the row under the key may change while we decide. */
const MAX_ROUNDS = 5;

/**
 * Writes a terminal end other than `completed`: fence and execution in one round trip, what belongs to them and COMMIT
 * in a second.
 */
export async function conclude(
  pool: LedgerPool,
  statements: Statements,
  scopes: ScopeIds,
  conclusion: Conclusion,
): Promise<KnownExecution | undefined> {
  const scopeId = await scopes.of(conclusion.fence.lane.scope);
  const belongings = await belongingsOf(statements, scopes, scopeId, conclusion);
  const position = await lanePosition(conclusion.fence.lane, scopes);
  const letter = conclusion.letter ? letterRemoved(conclusion.letter, position, statements) : [];
  return pool.use(async (session) => {
    try {
      const known = await writeExecution(pool, session, statements, scopeId, conclusion);
      if (known !== 'written' && known.fingerprint !== conclusion.execution.fingerprint) {
        await session.rollback();
        return known;
      }
      await commit(pool, session, known === 'written' ? [...belongings, ...letter] : letter);
      return known === 'written' || isAt(known, conclusion) ? undefined : known;
    } catch (error) {
      await session.rollback();
      throw error;
    }
  });
}

/** Resolves with the execution that was there first, or says that ours was written. The transaction is open then. */
async function writeExecution(
  pool: LedgerPool,
  session: Session,
  statements: Statements,
  scopeId: number,
  conclusion: Conclusion,
): Promise<KnownExecution | 'written'> {
  const { fence, execution, state, attempts, isShared } = conclusion;
  const { lane, epoch } = fence;
  const before: Call[] = [pool.begin()];
  if (isShared) before.push([statements.shareLane, [statements.laneLock(scopeId, lane)]]);
  const insert: Call = [
    isShared ? statements.concludeShared : statements.conclude,
    [
      scopeId,
      lane.topicId,
      lane.partition,
      String(epoch),
      isShared ? null : String(execution.offset + 1n),
      execution.key,
      STATE_NUMBERS[state],
      String(execution.fingerprint),
      String(execution.offset),
      attempts,
    ],
  ];
  for (let round = 1; ; round++) {
    const result = await session.batch(round === 1 ? [...before, insert] : [insert]);
    if (result.error !== undefined) throw result.error;
    const answer = result.rows.at(-1)![0]!;
    if (answer['held'] !== '1') throw new FencedError(fencedMessage(lane, epoch));
    if (answer['written'] === '1') return 'written';
    const [row] = await session.run(statements.findExecutions, [scopeId, byteaArray([execution.key])]);
    if (row !== undefined) {
      const known = knownExecution(row);
      if (known.state === 'claimed') {
        if (await concludeOver(session, statements.concludeClaimed, scopeId, conclusion)) return 'written';
        throw new ExecutionInWorkError(
          `The execution at ${lane.topic}[${lane.partition}] offset ${execution.offset} is in work elsewhere`,
        );
      }
      if (known.state !== 'failed' || state !== 'failed' || isAt(known, conclusion)) return known;
      if (await concludeOver(session, statements.failAgain, scopeId, conclusion)) return 'written';
    }
    // Deleted, or taken over by a new request, between two statements.
    if (round === MAX_ROUNDS)
      throw new LedgerUnreachableError('An execution keeps changing while it is concluded');
  }
}

/** Puts the ending in the place of what is there, if that still is what `statement` is for. */
async function concludeOver(
  session: Session,
  statement: Statement,
  scopeId: number,
  { fence: { lane }, execution, attempts, state }: Conclusion,
): Promise<boolean> {
  const values = [
    scopeId,
    execution.key,
    String(execution.fingerprint),
    lane.topicId,
    lane.partition,
    String(execution.offset),
    attempts,
    STATE_NUMBERS[state],
  ];
  const result = await session.batch([[statement, values]]);
  if (result.error !== undefined) throw result.error;
  return result.rowCounts[0] === 1;
}

async function belongingsOf(
  statements: Statements,
  scopes: ScopeIds,
  scopeId: number,
  { fence: { lane }, execution, error, reply, deadLetter, outbox }: Conclusion,
): Promise<Call[]> {
  const { key } = execution;
  const calls: Call[] = [
    [statements.addFailure, [scopeId, key, storableText(error.name), storableText(error.message)]],
  ];
  if (deadLetter !== null) {
    calls.push([
      statements.addDeadLetter,
      [
        scopeId,
        key,
        lane.topicId,
        lane.topic,
        lane.partition,
        String(execution.offset),
        String(deadLetter.timestamp),
        storableText(deadLetter.reason),
        deadLetter.key,
        deadLetter.value,
        packHeaders(deadLetter.headers),
      ],
    ]);
  }
  if (reply !== null) {
    calls.push(...(await storeReplies([{ scope: lane.scope, key, body: reply }], statements, scopes)));
  }
  if (outbox !== null) calls.push(...(await storeOutbox([{ lane, record: outbox }], statements, scopes)));
  return calls;
}

async function commit(pool: LedgerPool, session: Session, calls: readonly Call[]): Promise<void> {
  const result = await session.batch([...calls, COMMIT]);
  if (result.error === undefined && result.command === 'COMMIT') return;
  if (session.broken && result.lastSent) throw new CommitUnknownError({ cause: result.error });
  throw (
    result.error ?? new LedgerUnreachableError(`Postgres at ${pool.target} rolled back instead of committing`)
  );
}

function isAt(known: KnownExecution, { fence: { lane }, execution }: Conclusion): boolean {
  return (
    known.topicId === lane.topicId && known.partition === lane.partition && known.offset === execution.offset
  );
}
