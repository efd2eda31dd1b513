import {
  Inject,
  Injectable,
  Logger,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { KafkaContext, RpcException } from '@nestjs/microservices';
import { Observable, of } from 'rxjs';
import type { Attempt } from '../consumption/attempt.js';
import { NotDurableError } from '../errors/errors.js';
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
import { durableRuns } from './handler-run.js';
import { notForKafka } from './not-for-kafka.js';
import { calledAgain, failure, RunResults } from './run-results.js';

/**
 * Runs a handler inside the transaction of its group, once per idempotency key. Bound to every Kafka handler by
 * `DurableModule`, or to single ones by `@Durable()`.
 */
@Injectable()
export class DurableInterceptor implements NestInterceptor {
  private readonly log = new Logger(DurableInterceptor.name);
  private readonly told = new Set<string>();

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
    if (attempt?.resource instanceof GroupEnlistment) {
      return this.again(attempt, attempt.resource, handler.id, next);
    }
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
      if (!isPromise(admitted)) return this.entered(attempt, enlistment, admitted, next);
      return admitted
        .then((run) => this.entered(attempt, enlistment, run, next))
        .catch((error: unknown) => {
          throw failure(attempt, enlistment, error);
        });
    } catch (error) {
      throw failure(attempt, enlistment, error);
    }
  }

  private entered(
    attempt: Attempt,
    enlistment: GroupEnlistment,
    run: Admitted,
    next: CallHandler,
  ): Observable<unknown> {
    if (!run) return of(undefined);
    return new Observable((subscriber) => {
      const results = new RunResults(attempt, enlistment, run, subscriber, this.tellCalledAgain);
      // Not ended with the subscriber: a handler that was given up goes on until its end.
      durableRuns.run(run, () => void next.handle().subscribe(results));
    });
  }

  /** It has been here with this attempt before. */
  private again(
    attempt: Attempt,
    enlistment: GroupEnlistment,
    handler: string,
    next: CallHandler,
  ): Observable<unknown> {
    // Bound twice, by the module and by a decorator: the outer one has done it all.
    if (enlistment.isRunOf(attempt, durableRuns.getStore())) return next.handle();
    if (attempt.replayed) return of(undefined);
    // An interceptor around it, which subscribes to the run for a second time.
    this.tellCalledAgain(handler);
    throw failure(attempt, enlistment, attempt.thrown ? attempt.thrown.error : calledAgain(handler));
  }

  /** Once for each handler. */
  private readonly tellCalledAgain = (handler: string): void => {
    if (this.told.has(handler)) return;
    this.told.add(handler);
    this.log.warn(
      `${handler} was called again by an interceptor and did not run: both runs would be in one transaction. A record that ` +
        'failed is tried again by the option "retry", a request if a KafkaRetriableException is thrown. Said once for each ' +
        'handler.',
    );
  };
}

/** A letter was parked for one handler; another one that shares its method, by inheritance, has no part in it. */
function isForAnother({ delivery: { letter } }: Attempt, { id }: DurableHandler): boolean {
  return letter !== undefined && letter.handler !== id;
}

function foreignTransport(handler: string): string {
  return (
    `${handler} is durable, but its record came through Nest's built-in Kafka transport, which knows no transactions. ` +
    "Import 'nestjs-durable-kafka/register' before anything else, or use kafkaServer()."
  );
}
