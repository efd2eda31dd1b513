import { LedgerUnreachableError } from '../errors/errors.js';
import { deferred, type Deferred } from '../runtime/deferred.js';

/** Whoever may hold locks: a transaction. Compared by identity. */
export type LockHolder = object;

interface Waiter {
  readonly holder: LockHolder;
  readonly granted: Deferred<void>;
}

interface Lock {
  holder: LockHolder;
  readonly waiters: Waiter[];
}

/** Exclusive row locks, granted in the order of asking; a cycle of waiting is refused, as a database does. */
export class InMemoryLocks {
  private readonly locks = new Map<string, Lock>();
  private readonly waiting = new Map<LockHolder, string>();

  holderOf(resource: string): LockHolder | undefined {
    return this.locks.get(resource)?.holder;
  }

  /**
   * Resolves once `holder` has the lock; at once if it has it already.
   * Rejects if waiting would close a cycle, or with what `cancel` says.
   */
  async acquire(resource: string, holder: LockHolder): Promise<void> {
    const lock = this.locks.get(resource);
    if (lock === undefined) {
      this.locks.set(resource, { holder, waiters: [] });
      return;
    }
    if (lock.holder === holder) return;
    if (this.closesCycle(lock.holder, holder))
      throw new LedgerUnreachableError('Deadlock detected; try again');
    const waiter = { holder, granted: deferred() };
    lock.waiters.push(waiter);
    this.waiting.set(holder, resource);
    await waiter.granted.promise;
  }

  /** Takes a waiting holder out of its queue; its `acquire` rejects with `error`. */
  cancel(holder: LockHolder, error: unknown): void {
    const resource = this.waiting.get(holder);
    if (resource === undefined) return;
    this.waiting.delete(holder);
    const waiters = this.locks.get(resource)!.waiters;
    const index = waiters.findIndex((waiter) => waiter.holder === holder);
    const [waiter] = waiters.splice(index, 1);
    waiter!.granted.reject(error);
  }

  release(resource: string, holder: LockHolder): void {
    const lock = this.locks.get(resource);
    if (lock?.holder !== holder) return;
    const next = lock.waiters.shift();
    if (next === undefined) {
      this.locks.delete(resource);
      return;
    }
    lock.holder = next.holder;
    this.waiting.delete(next.holder);
    next.granted.resolve();
  }

  releaseAll(holder: LockHolder): void {
    for (const [resource, lock] of [...this.locks]) {
      if (lock.holder === holder) this.release(resource, holder);
    }
  }

  private closesCycle(holder: LockHolder, requester: LockHolder): boolean {
    let current: LockHolder | undefined = holder;
    while (current !== undefined) {
      if (current === requester) return true;
      const resource = this.waiting.get(current);
      current = resource === undefined ? undefined : this.locks.get(resource)?.holder;
    }
    return false;
  }
}
