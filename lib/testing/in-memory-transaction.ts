import {
  CommitUnknownError,
  ExecutionInWorkError,
  FencedError,
  LeaseLostError,
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
} from '../execution/ledger.js';
import { expectParked, storeParking } from './in-memory-parking.js';
import type { LockMode } from './in-memory-locks.js';
import {
  completedExecution,
  executionName,
  knownExecution,
  laneName,
  max,
  type InMemoryLedgerStore,
  type StoredExecution,
  type StoredFence,
  type StoredRow,
} from './in-memory-ledger-store.js';
import { lostMessage } from './in-memory-step-journal.js';

/** What a handler writes with. Rows show up in the store once, and only if, the transaction commits. */
export interface InMemoryTransactionClient {
  insert(table: string, row: unknown): Promise<void>;
  /** Waits for a row of that name, as who updates it does, and has it until the transaction ends. */
  lock(row: string): Promise<void>;
  /** A statement that fails: rejects with `error`, and the transaction can only roll back from then on, as in Postgres. */
  fail(error: Error): Promise<never>;
}

/** What a ledger lends its transactions. */
export interface InMemoryTransactionHost {
  readonly store: InMemoryLedgerStore;
  /** The ledger's name. */
  readonly owner: string;
  now(): number;
  /** One way of a message between process and database; lets others go first. */
  turn(): Promise<void>;
  /** How the answer to the next COMMIT gets lost, if it does; asked once per commit. */
  takeLostAnswer(): { readonly stored: boolean } | undefined;
  ended(transaction: InMemoryTransaction): void;
}

const unreachable = () =>
  new LedgerUnreachableError('The in-memory ledger is disconnected; nothing was stored');

const endedMessage =
  "A transaction's client was used after the transaction had ended: a promise is floating in the handler. Await every " +
  'call before the handler returns.';

export class InMemoryTransaction implements LedgerTransaction {
  readonly client = this.clientFor(() => undefined);
  private state: 'new' | 'open' | 'ended' = 'new';
  private lost = false;
  private aborted = false;
  private working: Promise<unknown> = Promise.resolve();
  private readonly executions = new Map<string, StoredExecution>();
  /** Failed executions that were taken over, as they were. */
  private readonly reclaimed = new Map<string, StoredExecution>();
  private readonly fences = new Map<string, StoredFence>();
  /** Under which each of them was claimed. */
  private readonly epochs = new Map<string, bigint>();
  private readonly rows: StoredRow[] = [];
  private readonly forgetDisconnect: () => void;

  constructor(private readonly host: InMemoryTransactionHost) {
    this.forgetDisconnect = host.store.whenDisconnected(() => this.break());
  }

  get broken(): boolean {
    return this.lost;
  }

  begin(lane?: Lane): Promise<void> {
    return this.inTurn(async () => {
      if (this.state !== 'new')
        throw new WrongCallOrderError('begin() was called on a transaction that had begun');
      this.state = 'open';
      await this.guarded(async () => {
        if (lane) await this.lock(laneName(lane), 'shared');
      });
    });
  }

  async nested<T>(work: (client: InMemoryTransactionClient) => Promise<T>): Promise<T> {
    await this.enter();
    const before = this.rows.length;
    let over = false;
    try {
      const result = await work(
        this.clientFor(() => {
          if (over) throw new WrongCallOrderError(endedMessage);
        }),
      );
      over = true;
      if (this.aborted) throw new TransactionAbortedError();
      return result;
    } catch (error) {
      over = true;
      this.rows.length = before;
      this.aborted = false;
      throw error;
    }
  }

  claim(claim: LaneClaim): Promise<ClaimVerdict[]> {
    return this.inTurn(() => this.claimNow(claim));
  }

  reclaim(fence: Fence, execution: ExecutionClaim): Promise<void> {
    return this.inTurn(() => this.reclaimNow(fence, execution));
  }

  async commit(work: GroupWork): Promise<void> {
    if (this.state === 'new') {
      this.end();
      const { releases, replies, outbox, steps = [], parking = [] } = work;
      if ([releases, replies, outbox, steps, parking].every(({ length }) => length === 0)) return;
      throw new WrongCallOrderError('A transaction that claimed nothing has nothing to commit with');
    }
    if (this.lost) throw unreachable();
    if (this.state === 'ended')
      throw new WrongCallOrderError('commit() was called after the end of its transaction');
    this.state = 'ended';
    try {
      await this.host.turn();
      if (this.lost) throw unreachable();
      if (this.aborted) throw new TransactionAbortedError();
      for (const { scope, key, token } of work.steps ?? []) {
        const held =
          token === undefined || this.host.store.claims.get(executionName(scope, key))?.token === token;
        if (!held) throw new LeaseLostError(lostMessage);
      }
      expectParked(this.host.store, work.parking ?? []);
      for (const release of work.releases) this.release(release);
      const lostAnswer = this.host.takeLostAnswer();
      if (lostAnswer?.stored ?? true) this.apply(work);
      if (lostAnswer !== undefined) {
        this.lost = true;
        throw new CommitUnknownError();
      }
    } finally {
      this.end();
    }
    await this.host.turn();
  }

  async rollback(): Promise<void> {
    if (this.state === 'ended') return;
    this.end();
    await this.host.turn();
  }

  /** Ends the transaction from outside: its connection is gone. */
  break(): void {
    this.lost = true;
    // Also if it is about to commit: whoever waits to do so may be dead, and its locks must not outlive it.
    this.end();
  }

  private async claimNow({ fence, advanceTo, executions }: LaneClaim): Promise<ClaimVerdict[]> {
    if (this.lost) throw unreachable();
    if (this.ended()) throw new WrongCallOrderError('claim() was called after the end of its transaction');
    const name = laneName(fence.lane);
    if (this.fences.has(name)) throw new WrongCallOrderError('claim() was called twice for one lane');
    this.state = 'open';
    return this.guarded(async () => {
      await this.lock(name, advanceTo === null ? 'shared' : 'exclusive');
      const stored = this.host.store.fences.get(name);
      if (stored === undefined || stored.epoch !== fence.epoch) {
        throw new FencedError(`Epoch ${fence.epoch} of ${name} was superseded, nothing was stored`);
      }
      const nextOffset = max(advanceTo ?? 0n, stored.nextOffset);
      this.fences.set(name, { ...stored, nextOffset, previousOffset: stored.nextOffset });
      this.epochs.set(name, fence.epoch);
      const verdicts = new Map<ExecutionClaim, ClaimVerdict>();
      for (const execution of [...executions].sort((left, right) => left.key.compare(right.key))) {
        verdicts.set(execution, await this.claimKey(fence, execution));
      }
      return executions.map((execution) => verdicts.get(execution)!);
    });
  }

  private async lock(name: string, mode: LockMode = 'exclusive'): Promise<void> {
    await this.host.store.locks.acquire(name, this, mode);
    if (!this.ended()) return;
    // Broken or rolled back while it waited, and granted by another's end in the same moment.
    this.host.store.locks.releaseAll(this);
    throw unreachable();
  }

  private async claimKey({ lane }: Fence, execution: ExecutionClaim): Promise<ClaimVerdict> {
    const { locks, executions } = this.host.store;
    const name = executionName(lane.scope, execution.key);
    const own = this.executions.get(name);
    if (own !== undefined) return knownExecution(own);
    await this.lock(name);
    const known = executions.get(name);
    if (known !== undefined) {
      locks.release(name, this);
      return knownExecution(known);
    }
    this.executions.set(name, completedExecution(lane, execution, this.host.now()));
    return 'claimed';
  }

  private async reclaimNow({ lane }: Fence, execution: ExecutionClaim): Promise<void> {
    if (this.state !== 'open')
      throw new WrongCallOrderError('reclaim() was called outside of its transaction');
    await this.guarded(async () => {
      const name = executionName(lane.scope, execution.key);
      await this.lock(name);
      const known = this.host.store.executions.get(name);
      const claim = this.host.store.claims.get(name);
      const isFree = claim !== undefined && claim.leaseUntil <= this.host.now();
      if (!known || (known.state !== 'failed' && !isFree) || this.executions.has(name)) {
        throw new ExecutionInWorkError('The execution is in work elsewhere, or was taken over first');
      }
      this.reclaimed.set(name, known);
      this.executions.set(name, completedExecution(lane, execution, this.host.now()));
    });
  }

  private release({ fence, keys, nextOffset }: Release): void {
    const lane = laneName(fence.lane);
    const moved = this.fences.get(lane);
    if (moved === undefined)
      throw new WrongCallOrderError('A lane was released that this transaction did not claim');
    for (const key of keys) {
      const name = executionName(fence.lane.scope, key);
      if (!this.executions.delete(name)) {
        throw new WrongCallOrderError('A key was released that this transaction did not claim');
      }
      this.reclaimed.delete(name);
    }
    const { previousOffset } = moved;
    this.fences.set(lane, { ...moved, nextOffset: max(nextOffset ?? 0n, previousOffset) });
  }

  private apply({ replies, outbox, steps = [], parking = [] }: GroupWork): void {
    const { store, owner } = this.host;
    const fences = [...this.fences].map(([name, { lane, nextOffset }]) => ({
      lane,
      epoch: this.epochs.get(name)!,
      epochInForce: store.fences.get(name)!.epoch,
      nextOffset,
    }));
    for (const [name, fence] of this.fences) {
      // In a lane that is shared, it may have been moved meanwhile.
      const stored = store.fences.get(name)!;
      const nextOffset = max(fence.nextOffset, stored.nextOffset);
      store.fences.set(name, { ...fence, nextOffset, leaderEpoch: stored.leaderEpoch });
    }
    for (const [name, execution] of this.executions) store.executions.set(name, execution);
    // A failure that was taken over is history; its error reply must not answer for the new run.
    for (const name of this.reclaimed.keys()) {
      store.replies.delete(name);
      store.claims.delete(name);
    }
    for (const { scope, key, body } of replies) {
      store.replies.set(executionName(scope, key), { body: Buffer.from(body), createdAt: this.host.now() });
    }
    for (const { lane, record } of outbox) store.addOutbox(lane, record, this.host.now());
    for (const { scope, key, step } of steps) store.addStep(executionName(scope, key), step);
    storeParking(store, parking, this.host.now());
    store.rows.push(...this.rows);
    store.committed({
      owner,
      fences,
      executions: [...this.executions.values()],
      rows: this.rows,
      outbox: outbox.map(({ record }) => record),
    });
  }

  private clientFor(check: () => void): InMemoryTransactionClient {
    return {
      insert: async (table, row) => {
        check();
        await this.write({ table, row });
      },
      lock: async (row) => {
        check();
        await this.enter();
        await this.inTurn(() => this.lockRow(row));
        await this.host.turn();
      },
      fail: async (error) => {
        check();
        await this.enter();
        this.aborted = true;
        throw error;
      },
    };
  }

  private async write(row: StoredRow): Promise<void> {
    await this.enter();
    this.rows.push(row);
    await this.host.turn();
  }

  private async lockRow(row: string): Promise<void> {
    if (this.ended()) throw unreachable();
    try {
      await this.host.store.locks.acquire(`row ${row}`, this);
    } catch (error) {
      this.aborted = true;
      throw error;
    }
  }

  /** A statement of the handler on its way to the database. */
  private async enter(): Promise<void> {
    if (this.state === 'new') {
      throw new WrongCallOrderError("A transaction's client was used before the first claim");
    }
    if (this.state === 'ended' && !this.lost) {
      throw new WrongCallOrderError(endedMessage);
    }
    await this.host.turn();
    if (this.lost) throw unreachable();
    if (this.aborted) throw new Error('The transaction is aborted: statements are ignored until its end');
  }

  /** Work whose failure is the end of the transaction. */
  private async guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      await this.host.turn();
      if (this.lost || this.host.store.unreachable) {
        this.lost = true;
        throw unreachable();
      }
      if (this.ended()) throw unreachable();
      if (this.aborted) throw new TransactionAbortedError();
      const result = await work();
      await this.host.turn();
      if (this.lost) throw unreachable();
      return result;
    } catch (error) {
      this.end();
      throw error;
    }
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.working.then(work);
    this.working = result.catch(() => undefined);
    return result;
  }

  /** In a method of its own: other calls change the state while one waits. */
  private ended(): boolean {
    return this.state === 'ended';
  }

  private end(): void {
    this.state = 'ended';
    this.forgetDisconnect();
    this.host.store.locks.cancel(this, unreachable());
    this.host.store.locks.releaseAll(this);
    this.host.ended(this);
  }
}
