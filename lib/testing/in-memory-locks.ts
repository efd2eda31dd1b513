import { LedgerUnreachableError } from '../errors/errors.js';
import { deferred, type Deferred } from '../runtime/deferred.js';

/** Whoever may hold locks: a transaction. Compared by identity. */
export type LockHolder = object;

/** A shared lock may have several holders at once, none of them an exclusive one. */
export type LockMode = 'exclusive' | 'shared';

interface Waiter {
  readonly holder: LockHolder;
  readonly mode: LockMode;
  readonly granted: Deferred<void>;
}

interface Lock {
  readonly holders: Set<LockHolder>;
  mode: LockMode;
  readonly waiters: Waiter[];
}

/** Row locks, granted in the order of asking; a cycle of waiting is refused, as a database does. */
export class InMemoryLocks {
  private readonly locks = new Map<string, Lock>();
  private readonly waiting = new Map<LockHolder, string>();

  holdersOf(resource: string): readonly LockHolder[] {
    return [...(this.locks.get(resource)?.holders ?? [])];
  }

  /** Whether somebody waits for what `holder` has. */
  isWaitedFor(holder: LockHolder): boolean {
    return [...this.locks.values()].some(({ holders, waiters }) => waiters.length > 0 && holders.has(holder));
  }

  /**
   * Resolves once `holder` has the lock; at once if it has it already, whatever the mode.
   * Rejects if waiting would close a cycle, or with what `cancel` says.
   */
  async acquire(resource: string, holder: LockHolder, mode: LockMode = 'exclusive'): Promise<void> {
    const lock = this.locks.get(resource);
    if (lock === undefined) {
      this.locks.set(resource, { holders: new Set([holder]), mode, waiters: [] });
      return;
    }
    if (lock.holders.has(holder)) return;
    if (lock.mode === 'shared' && mode === 'shared' && lock.waiters.length === 0) {
      lock.holders.add(holder);
      return;
    }
    if (this.waitsFor(lock, holder)) throw new LedgerUnreachableError('Deadlock detected; try again');
    const waiter = { holder, mode, granted: deferred() };
    lock.waiters.push(waiter);
    this.waiting.set(holder, resource);
    await waiter.granted.promise;
  }

  /** Takes a waiting holder out of its queue; its `acquire` rejects with `error`. */
  cancel(holder: LockHolder, error: unknown): void {
    const resource = this.waiting.get(holder);
    if (resource === undefined) return;
    this.waiting.delete(holder);
    const lock = this.locks.get(resource)!;
    const index = lock.waiters.findIndex((waiter) => waiter.holder === holder);
    const [waiter] = lock.waiters.splice(index, 1);
    waiter!.granted.reject(error);
    // It may have been what others stood behind.
    this.grant(resource, lock);
  }

  release(resource: string, holder: LockHolder): void {
    const lock = this.locks.get(resource);
    if (!lock?.holders.delete(holder)) return;
    this.grant(resource, lock);
  }

  releaseAll(holder: LockHolder): void {
    for (const [resource, lock] of [...this.locks]) {
      if (lock.holders.has(holder)) this.release(resource, holder);
    }
  }

  /** Lets in who comes next, and those behind who may share it. */
  private grant(resource: string, lock: Lock): void {
    for (let [next] = lock.waiters; next !== undefined; [next] = lock.waiters) {
      if (lock.holders.size > 0 && (lock.mode === 'exclusive' || next.mode === 'exclusive')) return;
      lock.waiters.shift();
      lock.mode = next.mode;
      lock.holders.add(next.holder);
      this.waiting.delete(next.holder);
      next.granted.resolve();
    }
    if (lock.holders.size === 0) this.locks.delete(resource);
  }

  /** Whether somebody who stands in the way waits for `requester`, over however many others. */
  private waitsFor(lock: Lock, requester: LockHolder, seen = new Set<Lock>()): boolean {
    if (seen.has(lock)) return false;
    seen.add(lock);
    const inTheWay = [...lock.holders, ...lock.waiters.map(({ holder }) => holder)];
    return inTheWay.some((holder) => {
      if (holder === requester) return true;
      const resource = this.waiting.get(holder);
      const next = resource === undefined ? undefined : this.locks.get(resource);
      return next !== undefined && next !== lock && this.waitsFor(next, requester, seen);
    });
  }
}
