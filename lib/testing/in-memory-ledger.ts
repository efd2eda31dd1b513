import { ConnectionClosedError, WrongCallOrderError } from '../errors/errors.js';
import type {
  Conclusion,
  Fence,
  FenceTaken,
  KnownExecution,
  Lane,
  Ledger,
  Scope,
} from '../execution/ledger.js';
import { systemClock, type Clock, type Timer } from '../runtime/clock.js';
import { InMemoryClaims } from './in-memory-claims.js';
import { conclude } from './in-memory-conclude.js';
import { InMemoryFailures } from './in-memory-failures.js';
import { InMemoryLedgerCare } from './in-memory-ledger-care.js';
import { superseded, takeFence, unreachable } from './in-memory-fences.js';
import { InMemoryLedgerMembers } from './in-memory-ledger-members.js';
import { InMemoryLedgerReader } from './in-memory-ledger-reader.js';
import type { AcquireLock, InMemoryLedgerHost } from './in-memory-ledger-host.js';
import { executionName, InMemoryLedgerStore, knownExecution, laneName } from './in-memory-ledger-store.js';
import { InMemoryStepJournal } from './in-memory-step-journal.js';
import { InMemoryParking } from './in-memory-parking.js';
import { InMemoryRedrive } from './in-memory-redrive.js';
import { InMemoryTruncations } from './in-memory-truncations.js';
import { InMemoryTransaction, type InMemoryTransactionHost } from './in-memory-transaction.js';

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
  readonly parking: InMemoryParking;
  readonly redrives: InMemoryRedrive;
  readonly truncations: InMemoryTruncations;
  readonly members: InMemoryLedgerMembers;
  readonly steps: InMemoryStepJournal;
  readonly claims: InMemoryClaims;
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
    const host: InMemoryLedgerHost = { reach, locking: (work) => this.locking(work) };
    this.parking = new InMemoryParking(store, clock, host);
    this.redrives = new InMemoryRedrive(store, clock, reach);
    this.truncations = new InMemoryTruncations(store, clock, host);
    this.care = new InMemoryLedgerCare(store, clock, this.name, reach);
    this.members = new InMemoryLedgerMembers(store, this.name, reach);
    this.steps = new InMemoryStepJournal(store, reach);
    this.claims = new InMemoryClaims(store, clock, {
      ...host,
      owner: this.name,
      takeLostAnswer: () => this.takeLostAnswer(),
    });
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
    const taken = await takeFence(this.store, this.clock, lane, this.name, confirm);
    await this.turn();
    return {
      ...taken,
      undispatched: taken.undispatched.filter(({ id }) => !this.dispatched.has(id)),
    };
  }

  async moveFence({ lane, epoch }: Fence, nextOffset: bigint): Promise<void> {
    this.check();
    await this.reach();
    const name = laneName(lane);
    const fence = this.store.fences.get(name);
    if (fence?.epoch !== epoch) throw superseded(lane, epoch);
    if (fence.nextOffset < nextOffset) {
      this.store.fences.set(name, { ...fence, nextOffset, previousOffset: fence.nextOffset });
    }
    await this.turn();
  }

  async findExecution(scope: Scope, key: Buffer): Promise<KnownExecution | undefined> {
    this.check();
    await this.reach();
    const known = this.store.executions.get(executionName(scope, key));
    await this.turn();
    return known && knownExecution(known);
  }

  transaction(): InMemoryTransaction {
    this.check();
    const host: InMemoryTransactionHost = {
      store: this.store,
      owner: this.name,
      now: () => this.clock.now(),
      turn: () => this.turn(),
      takeLostAnswer: () => this.takeLostAnswer(),
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

  /** With row locks of its own, all of them released at the end. */
  private async locking<T>(work: (lock: AcquireLock) => Promise<T>): Promise<T> {
    const { locks } = this.store;
    const holder = {};
    const forget = this.store.whenDisconnected(() => locks.cancel(holder, unreachable()));
    try {
      return await work((name, mode) => locks.acquire(name, holder, mode));
    } finally {
      forget();
      locks.releaseAll(holder);
      await this.turn();
    }
  }

  private takeLostAnswer(): { readonly stored: boolean } | undefined {
    const { lostAnswer } = this;
    this.lostAnswer = undefined;
    return lostAnswer;
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
