import { HandlerTimeoutError, type StaleMemberError } from '../errors/errors.js';
import type { EncodedReply } from '../messages/reply.js';
import { settlesWithin, type Timer } from '../runtime/clock.js';
import { Few } from '../runtime/few.js';
import { Attempt, succeeded, type AttemptResult, type Delivery } from './attempt.js';
import { isNobodysFault } from './decision.js';
import type { EngineContext } from './engine-context.js';
import type { AfterCommit, Group } from './group.js';
import type { GroupPace } from './group-pace.js';

/** Why a group came to nothing, or why a delivery of it did. */
export interface GroupFailure {
  readonly attempt: Attempt;
  readonly error: unknown;
  /** What the exception filters made of it for the caller of a request. */
  readonly answer: EncodedReply | undefined;
  /** An exception filter made a success of it: the record is done with, the handler's writes are not kept. */
  readonly swallowed: boolean;
  /** Deliveries whose work was undone together. */
  readonly undone: readonly Delivery[];
  /** Which of them may be at fault: the handlers that failed, or all if the commit did. */
  readonly suspects: readonly Delivery[];
}

/** A handler that the group went on without. */
export interface Straggler {
  readonly delivery: Delivery;
  /** Resolves when its handler has ended; with its failure, if that is its own. */
  readonly ended: Promise<GroupFailure | undefined>;
}

export interface GroupOutcome {
  readonly failures: readonly GroupFailure[];
  readonly stragglers: readonly Straggler[];
}

/** What a run tells the partition's processor. */
export interface GroupRunHost {
  /**
   * Called for each delivery that is done, in order: at once if nothing is enlisted for it, else after the commit, with
   * what follows the commit.
   */
  settle(attempt: Attempt, afterwards: Promise<void> | undefined): void;
  /** Asked between handlers; `false` closes the group early. */
  mayGoOn(): boolean;
  /** Called before each run of a handler. */
  began(delivery: Delivery): void;
}

interface Running {
  readonly attempt: Attempt;
  readonly result: Promise<AttemptResult>;
  readonly giveUp: (error: unknown) => void;
}

/**
 * One run of a group: calls its handlers and commits what they enlisted. Deliveries of one chain run one after the other,
 * chains at once. All that is enlisted has one fate: where one such handler fails, the others are undone with it, once
 * those that run have ended.
 */
export class GroupRun {
  private readonly running = new Few<Running>();
  /** Of these, the ones that the group went on without. */
  private readonly left = new Set<Attempt>();
  private readonly failures: GroupFailure[] = [];
  private readonly began: number;
  private readonly limit: number;
  /** No further handler is called. */
  private closed = false;
  private stopping: unknown;
  private runs = 0;
  /** Runs of the longest chain. */
  private depth = 0;

  /** @param chains the group's deliveries. */
  constructor(
    private readonly context: EngineContext,
    private readonly pace: GroupPace,
    private readonly host: GroupRunHost,
    private readonly group: Group,
    private readonly chains: readonly (readonly Delivery[])[],
  ) {
    this.began = context.clock.monotonic();
    this.limit = pace.limitMillis;
  }

  /**
   * Resolves when everything that ran is done or undone, but for stragglers. Not all need have run: the group closes
   * early at its time limit, and after a failure. Never rejects.
   *
   * @param mayLeave whether others could go on without a handler that keeps this group waiting.
   */
  async run(mayLeave: boolean): Promise<GroupOutcome> {
    const ran = Promise.all(this.chains.map((chain) => this.runChain(chain)));
    if (mayLeave && !(await this.endsInTime(ran))) return this.leaveBehind();
    await ran;
    const handlers = this.elapsed();
    const failures = await this.decide();
    this.note(handlers);
    return { failures, stragglers: [] };
  }

  /** Aborts what runs; nothing is committed from now on. */
  stop(reason: StaleMemberError): void {
    this.stopping = reason;
    for (const { giveUp } of this.running) giveUp(reason);
  }

  private async runChain(chain: readonly Delivery[]): Promise<void> {
    let depth = 0;
    for (const delivery of chain) {
      if (this.closed) return;
      const attempt = new Attempt(delivery, this.group, this.context.publish);
      const result = this.skip(attempt) ?? (await this.start(attempt));
      this.running.delete((running) => running.attempt === attempt);
      attempt.ended();
      // Whoever waits for the straggler goes on from here.
      if (this.left.has(attempt)) return;
      this.runs++;
      this.depth = Math.max(this.depth, ++depth);
      if (!this.isDone(attempt, result)) return;
      if (this.elapsed() >= this.limit || !this.host.mayGoOn()) this.closed = true;
    }
  }

  /** The end of an attempt whose record was handled before, as far as what is enlisted knows without asking. */
  private skip(attempt: Attempt): AttemptResult | undefined {
    const { enlisted } = this.group;
    if (this.stopping || !enlisted?.isOver(attempt.delivery)) return undefined;
    attempt.resource = enlisted;
    attempt.isDuplicate = true;
    return succeeded;
  }

  /** Notes how an attempt ended; `false` if what is behind it in its chain has to wait. */
  private isDone(attempt: Attempt, result: AttemptResult): boolean {
    const failure = failureOf(attempt, result);
    if (failure) {
      this.failures.push(failure);
      if (isShared(attempt)) this.closed = true;
      return false;
    }
    if (attempt.postponed) {
      attempt.delivery.runs--;
      return false;
    }
    if (attempt.resource) this.group.done.push(attempt);
    else this.host.settle(attempt, undefined);
    return true;
  }

  /** Commits what is enlisted, or undoes it if one failed. Resolves with all failures. */
  private async decide(): Promise<readonly GroupFailure[]> {
    const enlisted = this.failures.filter(({ attempt }) => isShared(attempt));
    const own = this.failures.filter(({ attempt }) => !isShared(attempt));
    return enlisted.length > 0 ? [await this.undo(enlisted), ...own] : [...own, ...(await this.commit())];
  }

  private async undo(failures: readonly GroupFailure[]): Promise<GroupFailure> {
    await this.group.enlisted!.rollback();
    const undone = [...this.group.done.map(deliveryOf), ...failures.map(({ attempt }) => attempt.delivery)];
    const guilty = failures.filter(({ attempt }) => !attempt.blameless);
    // What stopped the work of all is to be told, rather than what a handler made of it.
    const systemic = failures.find(({ error }) => isNobodysFault(this.context.classify(error)));
    return {
      ...(systemic ?? guilty[0] ?? failures[0]!),
      undone,
      suspects: guilty.length > 0 ? guilty.map(({ attempt }) => attempt.delivery) : undone,
    };
  }

  private async commit(): Promise<readonly GroupFailure[]> {
    const { enlisted: resource, done } = this.group;
    const last = done[done.length - 1];
    if (!resource) return [];
    if (!last) {
      await resource.rollback();
      return [];
    }
    let after: AfterCommit | undefined;
    try {
      if (this.stopping) throw this.stopping;
      after = await resource.commit(done);
    } catch (error) {
      await resource.rollback();
      const undone = done.map(deliveryOf);
      return [{ attempt: last, error, answer: undefined, swallowed: false, undone, suspects: undone }];
    }
    const afterwards = after?.();
    for (const attempt of done) this.host.settle(attempt, afterwards);
    return [];
  }

  /** Whether the handlers end within the group's patience, or keep nobody waiting but themselves. */
  private async endsInTime(ran: Promise<unknown>): Promise<boolean> {
    for (;;) {
      if (await settlesWithin(this.context.clock, ran, this.pace.patience)) return true;
      const { size } = this.running;
      if (size > 0 && size < this.group.deliveries.length) return false;
      // All of them take their time.
      this.pace.lostPatience();
    }
  }

  /**
   * Lets the others go on. A handler that is enlisted is undone with all that is, and runs again by itself; not before
   * this run has ended, since two at once would get in each other's way. What is not enlisted just goes on.
   */
  private async leaveBehind(): Promise<GroupOutcome> {
    this.closed = true;
    const stragglers = [...this.running].map(({ attempt, result }): Straggler => {
      this.left.add(attempt);
      const { delivery } = attempt;
      if (!attempt.resource) return { delivery, ended: result.then((end) => this.ownEnd(attempt, end)) };
      delivery.alone = true;
      attempt.disown();
      return { delivery, ended: result.then(() => undefined) };
    });
    this.pace.lostPatience();
    this.note(this.elapsed());
    const isUndone = [...this.left].some(isShared);
    if (isUndone) await this.group.enlisted!.rollback();
    const failed = this.failures.some(({ attempt }) => isShared(attempt));
    const failures = isUndone && !failed ? this.failures : await this.decide();
    return { failures, stragglers };
  }

  private ownEnd(attempt: Attempt, result: AttemptResult): GroupFailure | undefined {
    const failure = failureOf(attempt, result);
    if (!failure) this.host.settle(attempt, undefined);
    return failure;
  }

  /** The handler's run; it ends too when it is given up: a handler that does not end must not keep its slot. */
  private start(attempt: Attempt): Promise<AttemptResult> {
    const { clock, options } = this.context;
    const { handler } = attempt.delivery;
    let giveUp!: (error: unknown) => void;
    const result = new Promise<AttemptResult>((resolve) => {
      let timer: Timer | undefined;
      const finish = (end: AttemptResult) => {
        if (timer !== undefined) clock.clearTimeout(timer);
        resolve(end);
      };
      giveUp = (error) => {
        attempt.abort(error);
        finish({ failed: true, error });
      };
      if (this.stopping) return giveUp(this.stopping);
      if (options.handlerTimeout !== undefined) {
        const error = new HandlerTimeoutError(handler.name, options.handlerTimeout);
        timer = clock.setTimeout(() => giveUp(error), options.handlerTimeout);
      }
      this.host.began(attempt.delivery);
      handler.run(attempt, finish);
    });
    this.running.add({ attempt, result, giveUp });
    return result;
  }

  private note(handlers: number): void {
    this.pace.note({
      runs: this.runs,
      depth: this.depth,
      begin: this.group.enlisted?.preparation ?? 0,
      handlers,
      commit: this.elapsed() - handlers,
    });
  }

  private elapsed(): number {
    return this.context.clock.monotonic() - this.began;
  }
}

function failureOf(attempt: Attempt, result: AttemptResult): GroupFailure | undefined {
  if (!result.failed && !(attempt.resource && attempt.thrown)) return undefined;
  const outcome = result.failed ? result : { error: undefined, answer: undefined };
  const error = attempt.thrown ? attempt.thrown.error : outcome.error;
  const one = [attempt.delivery];
  return { attempt, error, answer: outcome.answer, swallowed: !result.failed, undone: one, suspects: one };
}

/** Its fate is that of others: what it enlisted in commits all or nothing. */
function isShared({ resource }: Attempt): boolean {
  return resource !== undefined && !resource.isolates;
}

function deliveryOf({ delivery }: Attempt): Delivery {
  return delivery;
}
