import { ConnectionClosedError, LedgerUnreachableError, WrongCallOrderError } from '../errors/errors.js';
import type { Conclusion, FenceTaken, KnownExecution, Lane, Ledger, Scope } from '../execution/ledger.js';
import { systemClock, type Clock, type Timer } from '../runtime/clock.js';
import { conclude } from './in-memory-conclude.js';
import { InMemoryFailures } from './in-memory-failures.js';
import { InMemoryLedgerCare } from './in-memory-ledger-care.js';
import { InMemoryLedgerMembers } from './in-memory-ledger-members.js';
import { InMemoryLedgerReader } from './in-memory-ledger-reader.js';
import { executionName, InMemoryLedgerStore, isLeftTo, laneName } from './in-memory-ledger-store.js';
import { InMemoryStepJournal } from './in-memory-step-journal.js';
import { InMemoryRedrive } from './in-memory-redrive.js';
import { InMemoryTransaction, type InMemoryTransactionHost } from './in-memory-transaction.js';

/** Milliseconds that one wait for a previous owner's transaction lasts, and how many there are; as in Postgres. */
const PATIENCE = 5_000;
const MAX_WAITS = 12;
/** Milliseconds until dispatched records are dropped from the outbox. */
const DISPATCH_DELAY = 20;

export interface InMemoryLedgerOptions {
  /** The database; give several ledgers the same one to play several processes. Default: one of its own. */
  readonly store?: InMemoryLedgerStore | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * The ledger without Postgres, for tests. Rows lock, wait and roll back as they do there; every call takes two turns of
 * the clock's `setImmediate`, so that a scheduler may put anything in between.
 */
export class InMemoryLedger implements Ledger {
  readonly store: InMemoryLedgerStore;
  readonly reader: InMemoryLedgerReader;
  readonly care: InMemoryLedgerCare;
  readonly failures: InMemoryFailures;
  readonly redrives: InMemoryRedrive;
  readonly members: InMemoryLedgerMembers;
  readonly steps: InMemoryStepJournal;
  private readonly clock: Clock;
  /** What the store knows this ledger by. */
  readonly name: string;
  private readonly transactions = new Set<InMemoryTransaction>();
  private readonly dispatched = new Set<string>();
  private dispatchTimer: Timer | undefined;
  private lostAnswer: { readonly stored: boolean } | undefined;
  private state: 'new' | 'open' | 'closed' = 'new';

  constructor({ store = new InMemoryLedgerStore(), clock = systemClock }: InMemoryLedgerOptions = {}) {
    this.store = store;
    this.clock = clock;
    this.name = clock.uuid();
    const reach = async () => {
      this.check();
      await this.reach();
    };
    this.reader = new InMemoryLedgerReader(store, clock, reach);
    this.failures = new InMemoryFailures(store, clock, reach);
    this.redrives = new InMemoryRedrive(store, clock, reach);
    this.care = new InMemoryLedgerCare(store, clock, this.name, reach);
    this.members = new InMemoryLedgerMembers(store, this.name, reach);
    this.steps = new InMemoryStepJournal(store, reach);
  }

  async open(): Promise<void> {
    if (this.state === 'closed') throw new ConnectionClosedError('The ledger has been closed');
    await this.reach();
    this.state = 'open';
    this.store.instances.set(this.name, this.clock.now());
  }

  async close(): Promise<void> {
    if (this.state !== 'open') return;
    this.dropDispatched();
    this.store.instances.delete(this.name);
    await this.members.withdraw();
    this.crash();
  }

  /** Memory holds any number. */
  reserve(): void {
    this.check();
  }

  async ping(): Promise<void> {
    this.check();
    await this.reach();
  }

  async takeFence(lane: Lane, confirm: () => Promise<boolean>): Promise<FenceTaken> {
    this.check();
    await this.reach();
    const name = laneName(lane);
    const taker = {};
    await this.lockFence(name, taker, confirm);
    const epoch = this.store.nextEpoch();
    const before = this.store.fences.get(name);
    const nextOffset = before?.nextOffset ?? 0n;
    this.store.fences.set(name, {
      lane,
      epoch,
      nextOffset,
      previousOffset: before?.previousOffset ?? 0n,
      owner: this.name,
    });
    const undispatched = [...this.store.outbox.values()].filter(
      (stored) =>
        stored.lane !== null && isLeftTo(lane, stored.lane) && !this.dispatched.has(stored.record.id),
    );
    this.store.locks.release(name, taker);
    await this.turn();
    return { fence: { lane, epoch, nextOffset }, undispatched: undispatched.map(({ record }) => record) };
  }

  transaction(): InMemoryTransaction {
    this.check();
    const host: InMemoryTransactionHost = {
      store: this.store,
      owner: this.name,
      now: () => this.clock.now(),
      turn: () => this.turn(),
      takeLostAnswer: () => {
        const lostAnswer = this.lostAnswer;
        this.lostAnswer = undefined;
        return lostAnswer;
      },
      ended: (transaction) => this.transactions.delete(transaction),
    };
    const transaction = new InMemoryTransaction(host);
    this.transactions.add(transaction);
    return transaction;
  }

  async findReplies(scope: Scope, keys: readonly Buffer[]): Promise<Map<string, Buffer>> {
    this.check();
    await this.reach();
    const found = new Map<string, Buffer>();
    for (const key of keys) {
      const reply = this.store.replies.get(executionName(scope, key));
      if (reply !== undefined) found.set(key.toString('latin1'), Buffer.from(reply.body));
    }
    await this.turn();
    return found;
  }

  async conclude(conclusion: Conclusion): Promise<KnownExecution | undefined> {
    this.check();
    await this.reach();
    try {
      return await conclude(this.store, conclusion, this.name, () => this.clock.now());
    } finally {
      await this.turn();
    }
  }

  markDispatched(ids: readonly string[]): void {
    if (this.state !== 'open') return;
    for (const id of ids) this.dispatched.add(id);
    this.scheduleDrop();
  }

  /** The process dies: open transactions roll back, nothing noted is done any more, every later call rejects. */
  crash(): void {
    this.state = 'closed';
    this.clock.clearTimeout(this.dispatchTimer);
    this.breakConnections();
    this.care.crash();
  }

  /** All connections break: open transactions roll back, and to other processes this one seems dead until it looks again. */
  breakConnections(): void {
    this.members.die();
    for (const transaction of [...this.transactions]) transaction.break();
  }

  /** The answer to this ledger's next COMMIT is lost, after or before it took effect. */
  loseNextCommitAnswer(stored: boolean): void {
    this.lostAnswer = { stored };
  }

  /** Waits in turns for whoever holds the fence; between them a confirmed taker ends the holder. */
  private async lockFence(name: string, taker: object, confirm: () => Promise<boolean>): Promise<void> {
    const { locks } = this.store;
    for (let wait = 1; ; wait++) {
      let timedOut = false;
      const timer = this.clock.setTimeout(() => {
        timedOut = true;
        locks.cancel(taker, unreachable());
      }, PATIENCE);
      const forget = this.store.whenDisconnected(() => locks.cancel(taker, unreachable()));
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
        this.clock.clearTimeout(timer);
        forget();
      }
      const confirmed = await confirm().catch(() => false);
      const holder = locks.holderOf(name);
      if (confirmed && holder instanceof InMemoryTransaction) holder.break();
    }
  }

  private scheduleDrop(): void {
    this.dispatchTimer ??= this.clock.setTimeout(() => this.dropDispatched(), DISPATCH_DELAY);
  }

  private dropDispatched(): void {
    this.dispatchTimer = undefined;
    if (this.store.unreachable) {
      if (this.state === 'open') this.scheduleDrop();
      return;
    }
    for (const id of this.dispatched) this.store.outbox.delete(id);
    this.dispatched.clear();
  }

  /** The way to the database. */
  private async reach(): Promise<void> {
    await this.turn();
    if (this.store.unreachable) throw unreachable();
  }

  private turn(): Promise<void> {
    return new Promise((resolve) => this.clock.setImmediate(resolve));
  }

  private check(): void {
    if (this.state === 'new') throw new WrongCallOrderError('The ledger is used before it was opened');
    if (this.state === 'closed') throw new ConnectionClosedError('The ledger has been closed');
  }
}

function unreachable(): LedgerUnreachableError {
  return new LedgerUnreachableError('The in-memory ledger is disconnected; nothing was stored');
}
