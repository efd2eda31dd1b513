import {
  Inject,
  Injectable,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { KafkaContext, RpcException } from '@nestjs/microservices';
import { Observable, of, type Observer, type Subscriber } from 'rxjs';
import type { Attempt } from '../consumption/attempt.js';
import { NotDurableError } from '../errors/errors.js';
import { isAfterFailure } from '../errors/infrastructure.js';
import { KafkaTransportError } from '../errors/kafka-transport.error.js';
import { isPromise } from '../runtime/is-promise.js';
import { attemptOf } from '../transport/kafka-delivery.context.js';
import { DURABLE_CORE } from './durable-core.js';
import {
  DurableMetadataAccessor,
  isDurable,
  type DurableHandler,
  type ExecutionMode,
} from './durable-metadata.accessor.js';
import { answerProbe, isProbeCall } from './durable-startup.probe.js';
import { GroupEnlistment, type Admitted, type DurableCore } from './group-enlistment.js';
import { durableRuns, expectNothingNested, outsideRuns, type HandlerRun } from './handler-run.js';
import { notForKafka } from './not-for-kafka.js';

/**
 * Runs a handler inside the transaction of its group, once per idempotency key. Bound to every Kafka handler by
 * `DurableModule`, or to single ones by `@Durable()`.
 */
@Injectable()
export class DurableInterceptor implements NestInterceptor {
  constructor(
    @Inject(DURABLE_CORE) private readonly core: DurableCore,
    private readonly handlers: DurableMetadataAccessor,
  ) {}

  intercept(
    context: ExecutionContext,
    next: CallHandler,
  ): Observable<unknown> | Promise<Observable<unknown>> {
    if (context.getType() !== 'rpc') return next.handle();
    const [data, rpcContext] = context.getArgs<[unknown, unknown]>();
    if (isProbeCall(context)) {
      answerProbe(data);
      return of(undefined);
    }
    const handler = this.handlers.of(context);
    if (!handler.durable) return next.handle();
    const attempt = attemptOf(rpcContext);
    // Bound twice, by the module and by a decorator: the outer one has done it all.
    if (attempt?.resource instanceof GroupEnlistment) return next.handle();
    const mode = handler.mode ?? this.core.mode;
    const enlisted = attempt?.group.enlisted;
    if (attempt && enlisted instanceof GroupEnlistment && enlisted.mode !== mode) {
      attempt.postpone();
      return of(undefined);
    }
    if (attempt && isForAnother(attempt, handler)) {
      attempt.isDuplicate = true;
      return of(undefined);
    }
    if (attempt) return this.runOnce(attempt, handler, mode, next);
    if (rpcContext instanceof KafkaContext) throw new NotDurableError(foreignTransport(handler.id));
    // A handler for any transport, which another server than ours calls.
    if (isDurable(context.getHandler())) throw notForKafka(handler.id);
    return next.handle();
  }

  private runOnce(
    attempt: Attempt,
    handler: DurableHandler,
    mode: ExecutionMode,
    next: CallHandler,
  ): Observable<unknown> | Promise<Observable<unknown>> {
    attempt.delivery.handler.name = handler.id;
    const enlistment = attempt.group.enlist(attempt, (group) => new GroupEnlistment(group, this.core, mode));
    try {
      if (attempt.delivery.letter?.order) {
        enlistment.workOf(attempt.delivery, handler);
        throw new RpcException('An operator ends this parked record');
      }
      const admitted = enlistment.admit(attempt, handler);
      if (!isPromise(admitted)) return entered(attempt, enlistment, admitted, next);
      return admitted
        .then((run) => entered(attempt, enlistment, run, next))
        .catch((error: unknown) => {
          throw failure(attempt, enlistment, error);
        });
    } catch (error) {
      throw failure(attempt, enlistment, error);
    }
  }
}

/** A letter was parked for one handler; another one that shares its method, by inheritance, has no part in it. */
function isForAnother({ delivery: { letter } }: Attempt, { id }: DurableHandler): boolean {
  return letter !== undefined && letter.handler !== id;
}

function entered(
  attempt: Attempt,
  enlistment: GroupEnlistment,
  run: Admitted,
  next: CallHandler,
): Observable<unknown> {
  if (!run) return of(undefined);
  return new Observable((subscriber) => {
    const results = new RunResults(attempt, enlistment, run, subscriber);
    // Not ended with the subscriber: a handler that was given up goes on until its end.
    durableRuns.run(run, () => void next.handle().subscribe(results));
  });
}

/**
 * Hands a handler's values on at its end: what a stream still had to write would miss the commit. They go on outside of the
 * run, where `DurablePool` is an ordinary pool to the interceptors and filters around.
 */
class RunResults implements Observer<unknown> {
  private readonly values: unknown[] = [];

  constructor(
    private readonly attempt: Attempt,
    private readonly enlistment: GroupEnlistment,
    private readonly run: HandlerRun,
    private readonly subscriber: Subscriber<unknown>,
  ) {}

  next(value: unknown): void {
    this.values.push(value);
  }

  error(error: unknown): void {
    const thrown = failure(this.attempt, this.enlistment, error);
    this.end();
    outsideRuns(() => this.subscriber.error(thrown));
  }

  complete(): void {
    try {
      expectNothingNested(this.run);
      this.run.steps.expectEnded();
      const lost = this.enlistment.explain(this.attempt, undefined);
      if (lost) throw lost;
    } catch (error) {
      return this.error(error);
    }
    this.end();
    outsideRuns(() => {
      for (const value of this.values) this.subscriber.next(value);
      this.subscriber.complete();
    });
  }

  private end(): void {
    this.run.open = false;
    this.enlistment.returned(this.attempt);
  }
}

/** What exception filters get. They come next and make something else of it; the engine decides by what was thrown. */
function failure(attempt: Attempt, enlistment: GroupEnlistment, error: unknown): unknown {
  const thrown = enlistment.explain(attempt, error);
  attempt.thrown = { error: thrown };
  // Handlers that run at once share a transaction: one of them failed first.
  attempt.blameless = attempt.group.order.isConcurrent && isAfterFailure(error);
  // Nest logs errors that it does not know, with their stack, at every attempt: ours are reported by the engine, once.
  return thrown instanceof KafkaTransportError
    ? new RpcException({ status: 'error', message: thrown.message })
    : thrown;
}

function foreignTransport(handler: string): string {
  return (
    `${handler} is durable, but its record came through Nest's built-in Kafka transport, which knows no transactions. ` +
    "Import 'nestjs-durable-kafka/register' before anything else, or use kafkaServer()."
  );
}
