import {
  CommitUnknownError,
  ExecutionInWorkError,
  LedgerUnreachableError,
  TransactionAbortedError,
  WrongCallOrderError,
} from '../errors/errors.js';
import type {
  ClaimVerdict,
  ExecutionClaim,
  Fence,
  GroupWork,
  Lane,
  LaneClaim,
  LedgerTransaction,
  Release,
  TransactionOptions,
} from '../execution/ledger.js';
import { claimLane } from './claim-lane.js';
import type { FreshKeys } from './fresh-keys.js';
import { laneName, storeOutbox, storeReplies } from './group-work.js';
import { sqlState } from './ledger-connection-error.js';
import { COMMIT, type LedgerPool } from './ledger-pool.js';
import { nestedPart } from './nested-part.js';
import { byteaArray, type Parameter } from './parameters.js';
import { parkingError, storeParking } from './parking-work.js';
import type { Row } from './result-types.js';
import type { ScopeIds } from './scope-ids.js';
import type { BatchResult, Call, Session } from './session.js';
import type { Statements } from './statements.js';
import { stepError, storeSteps } from './step-work.js';
import {
  createTransactionClient,
  type ClientGate,
  type RefuseFloating,
  type TransactionClient,
} from './transaction-client.js';

/** SQLSTATE of every statement after a failed one. */
const IN_FAILED_TRANSACTION = '25P02';

/** SQLSTATE of what the role may not do. It could claim in this transaction: the handler has changed it. */
const NOT_PERMITTED = '42501';

const changedRoleMessage =
  "The record of a handler's run could not be stored with what it wrote: permission denied. If the handler changes the role " +
  'of its transaction (SET ROLE, SET LOCAL ROLE), have it send RESET ROLE before it returns.';

interface ClaimedLane {
  readonly claim: LaneClaim;
  readonly verdicts: readonly ClaimVerdict[];
}

interface Reclaimed {
  readonly scopeId: number;
  readonly key: Buffer;
  /** The row as it was, failed or claimed, to be put back if the claim is released. */
  readonly before: Row;
}

export class PostgresTransaction implements LedgerTransaction {
  readonly client: TransactionClient;
  private state: 'new' | 'open' | 'ended' = 'new';
  private session: Session | undefined;
  private working: Promise<unknown> = Promise.resolve();
  private claiming = 0;
  private switchSynchronousCommitOn = false;
  private readonly lanes = new Map<string, ClaimedLane>();
  private readonly reclaimed = new Map<string, Reclaimed>();

  constructor(
    private readonly pool: LedgerPool,
    private readonly statements: Statements,
    private readonly scopes: ScopeIds,
    private readonly freshKeys: FreshKeys,
    private readonly refuseFloating: RefuseFloating,
    { isConcurrent = false }: TransactionOptions = {},
  ) {
    this.client = createTransactionClient(isConcurrent, this.gate, refuseFloating);
  }

  get broken(): boolean {
    return this.session?.broken ?? false;
  }

  begin(lane?: Lane): Promise<void> {
    return this.inTurn(() => this.beginNow(lane));
  }

  nested<T>(work: (client: TransactionClient) => Promise<T>): Promise<T> {
    return nestedPart(this.client, this.gate, this.refuseFloating, work);
  }

  claim(claim: LaneClaim): Promise<ClaimVerdict[]> {
    return this.inTurn(() => this.claimNow(claim));
  }

  reclaim(fence: Fence, execution: ExecutionClaim): Promise<void> {
    return this.inTurn(() => this.reclaimNow(fence, execution));
  }

  async commit(work: GroupWork): Promise<void> {
    if (this.state === 'new') {
      this.state = 'ended';
      if (isEmpty(work)) return;
      throw new WrongCallOrderError('A transaction that claimed nothing has nothing to commit with');
    }
    const session = this.openSession('commit');
    this.state = 'ended';
    try {
      // 'I': a handler ended the transaction by some way round the client's own check.
      if (session.client.getTransactionStatus?.() === 'I') {
        throw new WrongCallOrderError('A handler ended the transaction that belongs to the library');
      }
      const calls = await this.commitCalls(work);
      if (session.broken) throw new LedgerUnreachableError(this.lostMessage());
      const result = await session.batch([...calls, COMMIT]);
      if (result.error === undefined && result.command === 'COMMIT') return;
      throw this.commitFailure(session, result);
    } catch (error) {
      await session.rollback();
      throw this.pool.mapped(error);
    } finally {
      session.release();
    }
  }

  async rollback(): Promise<void> {
    if (this.state === 'ended') return;
    this.state = 'ended';
    const session = this.session;
    if (session === undefined) return;
    // A claim that waits for its twin would have the rollback wait as well, and keep the fence meanwhile.
    if (this.claiming > 0) await session.cut();
    else await session.rollback();
    session.release();
  }

  private async beginNow(lane: Lane | undefined): Promise<void> {
    if (this.state !== 'new')
      throw new WrongCallOrderError('begin() was called on a transaction that had begun');
    const share = lane ? [this.shareCall(await this.scopes.of(lane.scope), lane)] : [];
    const begin = await this.connect();
    await this.guarded(async (session) => {
      const result = await session.batch([
        begin!,
        ...share,
        [{ text: "select current_setting('synchronous_commit') as setting" }],
      ]);
      if (result.error !== undefined) throw result.error;
      if (this.pool.noteSynchronousCommit(result.rows.at(-1)![0]!['setting']))
        this.switchSynchronousCommitOn = true;
    });
  }

  /** Takes a connection, if there is none yet; then resolves with what is to be sent first. */
  private async connect(): Promise<Call | undefined> {
    if (this.session !== undefined) return undefined;
    const session = await this.pool.acquire();
    // Rolled back while waiting for a connection.
    if (this.hasEnded()) {
      session.release();
      throw new LedgerUnreachableError('The transaction was rolled back while it was beginning');
    }
    this.session = session;
    this.state = 'open';
    return this.pool.begin();
  }

  private async claimNow(claim: LaneClaim): Promise<ClaimVerdict[]> {
    if (this.state === 'ended')
      throw new WrongCallOrderError('claim() was called after the end of its transaction');
    const scopeId = await this.scopes.of(claim.fence.lane.scope);
    const name = laneName(scopeId, claim.fence.lane);
    if (this.lanes.has(name)) throw new WrongCallOrderError('claim() was called twice for one lane');
    const begin = await this.connect();
    const calls: Call[] = begin ? [begin] : [];
    if (claim.advanceTo === null) calls.push(this.shareCall(scopeId, claim.fence.lane));
    return this.guarded(async (session) => {
      const { verdicts, synchronousCommit } = await claimLane(
        session,
        this.statements,
        scopeId,
        claim,
        { calls, begins: begin !== undefined },
        this.freshKeys,
      );
      if (this.pool.noteSynchronousCommit(synchronousCommit)) this.switchSynchronousCommitOn = true;
      this.lanes.set(name, { claim, verdicts });
      return verdicts;
    });
  }

  private shareCall(scopeId: number, lane: Lane): Call {
    return [this.statements.shareLane, [this.statements.laneLock(scopeId, lane)]];
  }

  private async reclaimNow(fence: Fence, { key, fingerprint, offset }: ExecutionClaim): Promise<void> {
    this.openSession('reclaim');
    const { lane } = fence;
    const scopeId = await this.scopes.of(lane.scope);
    await this.guarded(async (session) => {
      const [before] = await session.run(this.statements.reclaim, [
        scopeId,
        key,
        String(fingerprint),
        lane.topicId,
        lane.partition,
        String(offset),
      ]);
      if (before === undefined) {
        throw new ExecutionInWorkError('The execution is in work elsewhere, or was taken over first');
      }
      this.reclaimed.set(keyName(scopeId, key), { scopeId, key, before });
    });
  }

  /** Runs statements whose failure is the end of the transaction. */
  private async guarded<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = this.openSession('claim');
    this.claiming++;
    try {
      return await work(session);
    } catch (error) {
      session.note(error);
      this.state = 'ended';
      await session.rollback();
      session.release();
      throw sqlState(error) === IN_FAILED_TRANSACTION
        ? new TransactionAbortedError()
        : this.pool.mapped(error);
    } finally {
      this.claiming--;
    }
  }

  /** One claim after the other: the first one's `begin` must have been sent before the second. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.working.then(work);
    this.working = result.catch(() => undefined);
    return result;
  }

  private async commitCalls(work: GroupWork): Promise<Call[]> {
    const calls: Call[] = [];
    if (this.switchSynchronousCommitOn) calls.push([{ text: 'set local synchronous_commit = on' }]);
    for (const release of work.releases) calls.push(...(await this.releaseCalls(release)));
    for (const { scopeId, key } of this.reclaimed.values()) {
      // The failure is history; its error reply must not answer for the new run.
      calls.push([this.statements.forgetBefore, [scopeId, key]]);
    }
    // Most groups have none of these, and would wait for each of them.
    const { replies, outbox, steps = [], parking = [] } = work;
    if (replies.length > 0) calls.push(...(await storeReplies(replies, this.statements, this.scopes)));
    if (outbox.length > 0) calls.push(...(await storeOutbox(outbox, this.statements, this.scopes)));
    if (steps.length > 0) calls.push(...(await storeSteps(steps, this.statements, this.scopes)));
    if (parking.length > 0) calls.push(...(await storeParking(parking, this.statements, this.scopes)));
    return calls;
  }

  private async releaseCalls({ fence, keys, nextOffset }: Release): Promise<Call[]> {
    const { lane, epoch } = fence;
    const scopeId = await this.scopes.of(lane.scope);
    const claimed = this.lanes.get(laneName(scopeId, lane));
    const ours = new Set<string>();
    claimed?.verdicts.forEach((verdict, index) => {
      if (verdict === 'claimed') ours.add(keyName(scopeId, claimed.claim.executions[index]!.key));
    });
    const calls: Call[] = [];
    const toDelete: Buffer[] = [];
    for (const key of keys) {
      const name = keyName(scopeId, key);
      const reclaimed = this.reclaimed.get(name);
      if (reclaimed !== undefined) {
        this.reclaimed.delete(name);
        calls.push([this.statements.restore, restoreValues(reclaimed)]);
      } else if (ours.has(name)) {
        toDelete.push(key);
      } else {
        // Deleting somebody's finished execution would have its handler run again.
        throw new WrongCallOrderError('A key was released that this transaction did not claim');
      }
    }
    if (claimed === undefined) {
      throw new WrongCallOrderError('A lane was released that this transaction did not claim');
    }
    if (nextOffset === null) {
      calls.push([this.statements.releaseShared, [scopeId, byteaArray(toDelete)]]);
    } else {
      const position = [scopeId, lane.topicId, lane.partition, String(epoch), String(nextOffset)];
      calls.push([this.statements.release, [...position, byteaArray(toDelete)]]);
    }
    return calls;
  }

  private commitFailure(session: Session, { error, command, lastSent }: BatchResult): unknown {
    // A lost connection hides whether COMMIT took effect, even if an earlier answer was lost too.
    if (session.broken) {
      return lastSent
        ? new CommitUnknownError({ cause: error })
        : new LedgerUnreachableError(this.lostMessage(), { cause: error });
    }
    const swallowed =
      sqlState(error) === IN_FAILED_TRANSACTION || (error === undefined && command === 'ROLLBACK');
    if (swallowed) return new TransactionAbortedError();
    if (sqlState(error) === NOT_PERMITTED) return new WrongCallOrderError(changedRoleMessage);
    return parkingError(stepError(error));
  }

  private lostMessage(): string {
    return `The connection to Postgres at ${this.pool.target} was lost before COMMIT; nothing was stored`;
  }

  private readonly gate: ClientGate = () => {
    if (this.state === 'open' && this.session !== undefined) return this.session;
    return this.state === 'new' ? 'not begun' : 'ended';
  };

  /** In a method of its own: other calls change the state while this one waits. */
  private hasEnded(): boolean {
    return this.state === 'ended';
  }

  private openSession(method: string): Session {
    if (this.state !== 'open' || this.session === undefined) {
      throw new WrongCallOrderError(
        `${method}() was called ${this.state === 'new' ? 'before the first claim of' : 'after the end of'} its transaction`,
      );
    }
    return this.session;
  }
}

function isEmpty({ releases, replies, outbox, steps = [], parking = [] }: GroupWork): boolean {
  return releases.length + replies.length + outbox.length + steps.length + parking.length === 0;
}

function keyName(scopeId: number, key: Buffer): string {
  return `${scopeId}/${key.toString('latin1')}`;
}

function restoreValues({ scopeId, key, before }: Reclaimed): Parameter[] {
  const columns = [
    'state',
    'fingerprint',
    'topic_id',
    'partition',
    'record_offset',
    'attempts',
    'finished_at',
  ];
  return [scopeId, key, ...columns.map((column) => before[column] ?? null)];
}
