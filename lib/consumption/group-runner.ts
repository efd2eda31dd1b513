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

/** A group goes on at least until its handlers took so many times as long as its begin and commit. */
const HANDLERS_PER_GROUP = 10;
const FIRST_SOLO = 64;
const LAST_SOLO = 8_192;
/** Weight of the newest value in a moving average. */
const WEIGHT = 1 / 4;

/** Runs handlers one after the other and commits what they enlisted. One per partition; runs one group at a time. */
export class GroupRunner {
  /** Moving averages in milliseconds: of a handler's run, and of what a group costs besides: its begin and its commit. */
  private handlerMillis = 0;
  private groupMillis = 0;
  /** Groups still to be run one by one after transactions got into each other's way, and how many the next time. */
  private solo = 0;
  private nextSolo = FIRST_SOLO;
  private giveUp: ((error: unknown) => void) | undefined;
  private stopping: unknown;

  /**
   * @param settle called for each delivery that is done, in order: at once if nothing is enlisted for it, else after
   *   the commit, with what follows the commit.
   * @param mayGoOn asked between handlers; `false` closes the group early.
   * @param began called before each run of a handler.
   */
  constructor(
    private readonly context: EngineContext,
    private readonly settle: (attempt: Attempt, afterwards: Promise<void> | undefined) => void,
    private readonly mayGoOn: () => boolean,
    private readonly began: (delivery: Delivery) => void,
  ) {}

  /** How many deliveries the next group may hold, going by how long handlers took. */
  get fitting(): number {
    const { maxRecords } = this.context.options.groupCommit;
    return Math.max(
      1,
      Math.min(maxRecords, Math.floor(this.limitMillis / Math.max(this.handlerMillis, 0.001))),
    );
  }

  private get limitMillis(): number {
    const { maxMillis, stretchedMillis } = this.context.options.groupCommit;
    return Math.max(maxMillis, Math.min(stretchedMillis, this.groupMillis * HANDLERS_PER_GROUP));
  }

  /**
   * A group deadlocked with another. The longer transactions hold their rows, the likelier that is, and each time costs
   * Postgres's `deadlock_timeout`: for a while records run one by one, for longer each time.
   */
  keepApart(): void {
    this.solo = this.nextSolo;
    this.nextSolo = Math.min(this.nextSolo * 2, LAST_SOLO);
  }

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
    if (this.solo > 0) this.solo--;
    try {
      if (!this.mayGoOn()) return undefined;
      return await this.runInSlot(new Group(deliveries, this.context));
    } finally {
      slots.release();
    }
  }

  private async runInSlot(group: Group): Promise<GroupFailure | undefined> {
    const { clock, publish } = this.context;
    const limit = this.limitMillis;
    const done: Attempt[] = [];
    const began = clock.monotonic();
    let first = 0;
    let elapsed = 0;
    let runs = 0;
    let own: GroupFailure | undefined;
    for (const delivery of group.deliveries) {
      const attempt = new Attempt(delivery, group, publish);
      const result = await this.runHandler(attempt);
      if (attempt.postponed) {
        delivery.runs--;
        break;
      }
      runs++;
      if (result.failed || (attempt.resource && attempt.thrown)) {
        own = failureOf(attempt, result);
        if (!attempt.resource || attempt.resource.isolates) break;
        await attempt.resource.rollback();
        return { ...own, undone: [...done.map((other) => other.delivery), delivery] };
      }
      if (attempt.resource) done.push(attempt);
      else this.settle(attempt, undefined);
      elapsed = clock.monotonic() - began;
      if (runs === 1) first = elapsed;
      if (elapsed >= limit || !this.mayGoOn()) break;
    }
    // The first run holds the beginning of the transaction too: it says little where there are others.
    const sample = runs > 1 ? (elapsed - first) / (runs - 1) : first;
    // A run by itself may be slow for that beginning; if it is faster than the others were, it was not the beginning.
    const tells = group.deliveries.length > 1 || sample < this.handlerMillis;
    if (tells) this.handlerMillis += (sample - this.handlerMillis) * WEIGHT;
    const ended = clock.monotonic();
    const failure = await this.commit(group, done);
    if (runs > 1) {
      const overhead = Math.max(0, first - sample) + (clock.monotonic() - ended);
      this.groupMillis += (overhead - this.groupMillis) * WEIGHT;
    }
    return failure ?? own;
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
      this.began(attempt.delivery);
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
