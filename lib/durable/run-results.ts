import type { CallHandler } from '@nestjs/common';
import { RpcException } from '@nestjs/microservices';
import { tap, type Observable, type Observer, type Subscriber } from 'rxjs';
import type { Attempt } from '../consumption/attempt.js';
import { WrongCallOrderError } from '../errors/errors.js';
import { isAfterFailure } from '../errors/infrastructure.js';
import { KafkaTransportError } from '../errors/kafka-transport.error.js';
import type { GroupEnlistment } from './group-enlistment.js';
import { expectNothingNested, outsideRuns, type HandlerRun, type RunCalls } from './handler-run.js';

/**
 * Hands a handler's values on at its end: what a stream still had to write would miss the commit. They go on outside of the
 * run, where `DurablePool` is an ordinary pool to the interceptors and filters around.
 *
 * Interceptors may also stand between the run and the handler. What they make of it must not have half of its writes
 * commit, nor twice: the handler is called once in a run, and if it failed, or had not ended, so has the run.
 */
export class RunResults implements Observer<unknown>, RunCalls {
  private readonly values: unknown[] = [];
  private handler: 'not called' | 'called' | 'answered' | 'failed' = 'not called';
  private failure: unknown;

  /** @param tellCalledAgain is given the name of the handler. */
  constructor(
    private readonly attempt: Attempt,
    private readonly enlistment: GroupEnlistment,
    private readonly run: HandlerRun,
    private subscriber: Subscriber<unknown> | undefined,
    private readonly tellCalledAgain: (handler: string) => void,
  ) {
    run.calls = this;
  }

  call(next: CallHandler): Observable<unknown> {
    const { handler } = this.run;
    if (this.handler !== 'not called') {
      this.tellCalledAgain(handler);
      // Of one that failed it is known why: whoever tries again gets that error in the end.
      if (this.handler !== 'failed') this.hasFailed(calledAgain(handler));
      throw this.failure;
    }
    this.handler = 'called';
    const answered = () => {
      if (this.handler === 'called') this.handler = 'answered';
    };
    return next
      .handle()
      .pipe(tap({ next: answered, complete: answered, error: (error: unknown) => this.hasFailed(error) }));
  }

  next(value: unknown): void {
    this.values.push(value);
  }

  error(error: unknown): void {
    const thrown = failure(this.attempt, this.enlistment, error);
    const subscriber = this.end();
    outsideRuns(() => subscriber?.error(thrown));
  }

  complete(): void {
    try {
      expectNothingNested(this.run);
      this.run.steps.expectEnded();
      this.expectAnswer();
      const lost = this.enlistment.explain(this.attempt, undefined);
      if (lost) throw lost;
    } catch (error) {
      return this.error(error);
    }
    // As where an exception filter made a value of it, which stands around the run.
    if (this.handler === 'failed') failure(this.attempt, this.enlistment, this.failure);
    const subscriber = this.end();
    outsideRuns(() => {
      for (const value of this.values) subscriber?.next(value);
      subscriber?.complete();
    });
  }

  private hasFailed(error: unknown): void {
    this.handler = 'failed';
    this.failure = error;
  }

  /** A promise has no value before its end, and a stream ends where it is unsubscribed from. */
  private expectAnswer(): void {
    if (this.handler !== 'called') return;
    throw new WrongCallOrderError(
      `An interceptor answered for ${this.run.handler} before that had ended: half of what it writes would be committed. ` +
        'Let the interceptor throw instead, or set the option "handlerTimeout".',
    );
  }

  /** Lets go of who is told: promises of the handler keep its run for longer, and with it what the handler was called through. */
  private end(): Subscriber<unknown> | undefined {
    const { subscriber } = this;
    this.subscriber = undefined;
    this.run.open = false;
    this.enlistment.returned(this.attempt);
    return subscriber;
  }
}

/** What exception filters get. They come next and make something else of it; the engine decides by what was thrown. */
export function failure(attempt: Attempt, enlistment: GroupEnlistment, error: unknown): unknown {
  const thrown = enlistment.explain(attempt, error);
  attempt.thrown = { error: thrown };
  // Handlers that run at once share a transaction: one of them failed first.
  attempt.blameless = attempt.group.order.isConcurrent && isAfterFailure(error);
  // Nest logs errors that it does not know, with their stack, at every attempt: ours are reported by the engine, once.
  return thrown instanceof KafkaTransportError
    ? new RpcException({ status: 'error', message: thrown.message })
    : thrown;
}

export function calledAgain(handler: string): WrongCallOrderError {
  return new WrongCallOrderError(
    `${handler} was called again by an interceptor after it had run: both runs would be in one transaction. Remove what ` +
      'subscribes to its result twice.',
  );
}
