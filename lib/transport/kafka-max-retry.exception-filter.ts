import { Catch, Logger, type ArgumentsHost } from '@nestjs/common';
import { BaseRpcExceptionFilter, KafkaRetriableException } from '@nestjs/microservices';
import { BehaviorSubject, from, type Observable } from 'rxjs';
import type { Attempt } from '../consumption/attempt.js';
import { describeError } from '../errors/describe-error.js';
import { InvalidOptionError } from '../errors/errors.js';
import { partitionName } from '../messages/record.js';
import { systemClock, type Clock } from '../runtime/clock.js';
import { classifyFailure } from './failure-classes.js';
import { attemptOf, type KafkaDeliveryContext } from './kafka-delivery.context.js';
import { onlyKnown, wholeNumber } from './option-checks.js';

export interface KafkaMaxRetryOptions {
  /** Milliseconds until an open circuit closes by itself. Default 30 000. */
  circuitResetTimeout?: number;
  /** For tests. */
  clock?: Clock;
}

/** `open`: a record that fails is skipped at once. */
export type CircuitState = 'closed' | 'open';

/** Gets the message as `KafkaContext.getMessage()` gives it. A rejection means: not skipped, the record is tried again. */
export type SkipHandler = (message: ReturnType<KafkaDeliveryContext['getMessage']>) => Promise<void> | void;

/**
 * Limits how often a record may fail: after `maxRetries` failures it is skipped, and the circuit opens, so that records
 * that fail meanwhile are skipped at once. Bind it with `@UseFilters(new KafkaMaxRetryExceptionFilter(5))`.
 *
 * Failures are counted per record and handler, across restarts where it is durable; those of the database or the broker
 * are not. A skipped record's offset moves like any other's, never past one that is unfinished; under `DurableModule`
 * what the handler wrote is rolled back and the ledger says `skipped`.
 *
 * The error of a request is its answer, as without the filter. Only a `KafkaRetriableException` is tried again, until
 * `maxRetries`, and then it is the answer.
 */
@Catch()
export class KafkaMaxRetryExceptionFilter extends BaseRpcExceptionFilter<unknown, void> {
  private readonly log = new Logger(KafkaMaxRetryExceptionFilter.name);
  private readonly circuit = new BehaviorSubject<CircuitState>('closed');
  private readonly circuitResetTimeout: number;
  private readonly clock: Clock;
  private openedAt = 0;

  /**
   * @param maxRetries failures after which a record is skipped, at least 1.
   * @param skipHandler awaited before a record is skipped.
   * @throws InvalidOptionError
   */
  constructor(
    private readonly maxRetries: number,
    private readonly skipHandler?: SkipHandler,
    options: KafkaMaxRetryOptions = {},
  ) {
    super();
    onlyKnown('KafkaMaxRetryExceptionFilter', options ?? {}, ['circuitResetTimeout', 'clock']);
    wholeNumber('KafkaMaxRetryExceptionFilter.maxRetries', maxRetries, 1);
    if (skipHandler !== undefined && typeof skipHandler !== 'function') {
      throw new InvalidOptionError('KafkaMaxRetryExceptionFilter.skipHandler', 'must be a function');
    }
    const timeout = options?.circuitResetTimeout ?? 30_000;
    this.circuitResetTimeout = wholeNumber('KafkaMaxRetryExceptionFilter.circuitResetTimeout', timeout, 0);
    this.clock = options?.clock ?? systemClock;
  }

  /** Where the circuit stands: the state now, then each change that a failing record brings about. */
  get state$(): Observable<CircuitState> {
    return this.circuit.asObservable();
  }

  get state(): CircuitState {
    return this.circuit.value;
  }

  override catch(exception: unknown, host: ArgumentsHost): Observable<void> {
    const context = host.switchToRpc().getContext<KafkaDeliveryContext>();
    const attempt = attemptOf(context);
    if (!attempt) {
      this.log.warn(
        'KafkaMaxRetryExceptionFilter is bound to a handler of another transport, it passes errors on',
      );
    }
    const isAnswer = attempt?.delivery.kind === 'request' && !(exception instanceof KafkaRetriableException);
    if (!attempt || isAnswer) return super.catch(exception, host);
    return from(this.decide(exception, attempt, context));
  }

  /** Rejects with the exception to have the record tried again or answered, resolves to have it skipped. */
  private async decide(exception: unknown, attempt: Attempt, context: KafkaDeliveryContext): Promise<void> {
    const failureClass = classifyFailure(attempt.thrown ? attempt.thrown.error : exception);
    if (failureClass === 'infrastructure' || failureClass === 'fenced') throw exception;
    attempt.filtered = 'retry';
    // In a transaction that others share the handler runs again by itself before anything is counted.
    if (!attempt.isAlone) throw exception;
    this.closeInTime();
    const failures = attempt.number;
    if (this.state === 'closed') {
      const times = `${where(attempt)} failed ${failures} of ${this.maxRetries} times`;
      if (failures < this.maxRetries) {
        this.log.log(`${times}: ${describeError(exception)}`);
        throw exception;
      }
      this.log.warn(`${times} and is given up: ${describeError(exception)}`);
      await this.runSkipHandler(context, exception);
      this.openedAt = this.clock.monotonic();
      this.circuit.next('open');
    } else {
      this.log.warn(
        `${where(attempt)} failed while the circuit is open and is given up: ${describeError(exception)}`,
      );
    }
    if (attempt.delivery.kind === 'event') return;
    attempt.filtered = 'answer';
    throw exception;
  }

  private async runSkipHandler(context: KafkaDeliveryContext, exception: unknown): Promise<void> {
    try {
      await this.skipHandler?.(context.getMessage());
    } catch (error) {
      this.log.error(`The skip handler failed, the record is tried again: ${describeError(error)}`);
      throw exception;
    }
  }

  private closeInTime(): void {
    if (this.state === 'closed' || this.clock.monotonic() - this.openedAt < this.circuitResetTimeout) return;
    this.log.log('The circuit is closed again');
    this.circuit.next('closed');
  }
}

function where({ delivery }: Attempt): string {
  return `${delivery.handler.name} at ${partitionName(delivery.partition)} offset ${delivery.record.offset}`;
}
