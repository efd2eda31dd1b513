import { HandlerTimeoutError, type StaleMemberError } from '../errors/errors.js';
import type { EncodedReply } from '../messages/reply.js';
import { Attempt, type AttemptResult, type Delivery } from './attempt.js';
import type { EngineContext } from './engine-context.js';
import { Group, type AfterCommit } from './group.js';

/** Why a group came to nothing, or why its last delivery did. */
export interface GroupFailure {
  readonly attempt: Attempt;
  readonly error: unknown;
  /** What the exception filters made of it for the caller of a request. */
  readonly answer: EncodedReply | undefined;
  /** An exception filter made a success of it: the record is done with, the handler's writes are not kept. */
  readonly swallowed: boolean;
  /** Deliveries whose work was undone together. */
  readonly undone: readonly Delivery[];
  /** Which of them may be at fault: the handler that failed, or all if the commit did. */
  readonly suspects: readonly Delivery[];
}

/** Runs handlers one after the other and commits what they enlisted. One per partition; runs one group at a time. */
export class GroupRunner {
  /** Moving average of a handler's run in milliseconds. */
  averageMillis = 0;
  private giveUp: ((error: unknown) => void) | undefined;
  private stopping: unknown;

  /**
   * @param settle called for each delivery that is done, in order: at once if nothing is enlisted for it, else after
   *   the commit, with what follows the commit.
   * @param mayGoOn asked between handlers; `false` closes the group early.
   */
  constructor(
    private readonly context: EngineContext,
    private readonly settle: (attempt: Attempt, afterwards: Promise<void> | undefined) => void,
    private readonly mayGoOn: () => boolean,
  ) {}

  /** Aborts what runs; nothing is committed from now on. */
  stop(reason: StaleMemberError): void {
    this.stopping = reason;
    this.giveUp?.(reason);
  }

  /**
   * Resolves with the failure that undid the group, or that its last delivery ended in while those before it were
   * committed; with `undefined` if all that ran is done. Not all need have run: the group closes at `maxMillis`, and
   * none do once `ending` aborts.
   */
  async run(deliveries: readonly Delivery[], ending: AbortSignal): Promise<GroupFailure | undefined> {
    const { slots } = this.context;
    if (!(await slots.acquire(ending))) return undefined;
    try {
      if (!this.mayGoOn()) return undefined;
      return await this.runInSlot(new Group(deliveries, this.context));
    } finally {
      slots.release();
    }
  }

  private async runInSlot(group: Group): Promise<GroupFailure | undefined> {
    const { clock, options, publish } = this.context;
    const done: Attempt[] = [];
    const began = clock.monotonic();
    let runs = 0;
    let own: GroupFailure | undefined;
    for (const delivery of group.deliveries) {
      const attempt = new Attempt(delivery, group, publish);
      const result = await this.runHandler(attempt);
      runs++;
      if (result.failed || (attempt.resource && attempt.thrown)) {
        own = failureOf(attempt, result);
        if (!attempt.resource) break;
        await attempt.resource.rollback();
        return { ...own, undone: [...done.map((other) => other.delivery), delivery] };
      }
      if (attempt.resource) done.push(attempt);
      else this.settle(attempt, undefined);
      if (clock.monotonic() - began >= options.groupCommit.maxMillis || !this.mayGoOn()) break;
    }
    this.averageMillis += ((clock.monotonic() - began) / runs - this.averageMillis) / 8;
    return (await this.commit(group, done)) ?? own;
  }

  private async commit(group: Group, done: readonly Attempt[]): Promise<GroupFailure | undefined> {
    const resource = group.enlisted;
    const last = done[done.length - 1];
    if (!resource) return undefined;
    if (!last) {
      await resource.rollback();
      return undefined;
    }
    let after: AfterCommit | undefined;
    try {
      if (this.stopping) throw this.stopping;
      after = await resource.commit(done);
    } catch (error) {
      await resource.rollback();
      const undone = done.map(({ delivery }) => delivery);
      return { attempt: last, error, answer: undefined, swallowed: false, undone, suspects: undone };
    }
    const afterwards = after?.();
    for (const attempt of done) this.settle(attempt, afterwards);
    return undefined;
  }

  /** Resolves when the handler is done, or is given up: a handler that does not end must not keep its slot. */
  private runHandler(attempt: Attempt): Promise<AttemptResult> {
    const { clock, options } = this.context;
    const { handler } = attempt.delivery;
    return new Promise((resolve) => {
      let timer: unknown;
      const finish = (result: AttemptResult) => {
        if (timer !== undefined) clock.clearTimeout(timer);
        resolve(result);
      };
      this.giveUp = (error) => {
        attempt.abort(error);
        finish({ failed: true, error });
      };
      if (this.stopping) return this.giveUp(this.stopping);
      if (options.handlerTimeout !== undefined) {
        const error = new HandlerTimeoutError(handler.name, options.handlerTimeout);
        timer = clock.setTimeout(() => this.giveUp?.(error), options.handlerTimeout);
      }
      handler.run(attempt).then(finish, (error: unknown) => finish({ failed: true, error }));
    });
  }
}

function failureOf(attempt: Attempt, result: AttemptResult): GroupFailure {
  const { delivery } = attempt;
  const outcome = result.failed ? result : { error: undefined, answer: undefined };
  const error = attempt.thrown ? attempt.thrown.error : outcome.error;
  const one = [delivery];
  return { attempt, error, answer: outcome.answer, swallowed: !result.failed, undone: one, suspects: one };
}
