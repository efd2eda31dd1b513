import { KafkaRetriableException, type MessageHandler } from '@nestjs/microservices';
import { isObservable } from 'rxjs';
import { succeeded, type Attempt, type AttemptResult, type DeliveryHandler } from '../consumption/attempt.js';
import { namesOf } from './handler-registry.js';
import type { KafkaDeliveryContext } from './kafka-delivery.context.js';
import { KafkaTerminalException } from './kafka-terminal.exception.js';
import type { ReplyEncoder } from './reply-encoder.js';
import { ReplyWriter } from './reply-writer.js';
import type { ParserOptions } from '../messages/parser.js';
import { deferred } from '../runtime/deferred.js';
import { isPromise } from '../runtime/is-promise.js';

/** What a handler is called with, made anew for each attempt. */
export interface HandlerCall {
  readonly data: unknown;
  readonly context: KafkaDeliveryContext;
}

export interface NestDeliveryHandlerPorts {
  /** Parses the record; may reject, if the user's deserializer does. */
  open(attempt: Attempt): HandlerCall | Promise<HandlerCall>;
  /** How `open` parses. */
  readonly parser: ParserOptions;
  readonly encode: ReplyEncoder;
  /** Whether Nest has any processing hooks. */
  hasHooks(): boolean;
  /** Wraps a run in them. */
  hooked<T>(context: KafkaDeliveryContext, run: () => Promise<T>): Promise<T>;
  /** Resolves with `false` if the promise did not settle within `streamOffsetTimeout`. */
  withinStreamTimeout(ended: Promise<void>): Promise<boolean>;
  onStreamTimeout(name: string): void;
}

type End = (result: AttemptResult) => void;

/** Runs a Nest handler (its guards, interceptors, pipes and filters included) for the engine. */
export class NestDeliveryHandler implements DeliveryHandler {
  constructor(
    public name: string,
    readonly callback: MessageHandler,
    private readonly ports: NestDeliveryHandlerPorts,
  ) {}

  /** How records are parsed for this handler. */
  get parser(): ParserOptions {
    return this.ports.parser;
  }

  get names(): readonly string[] {
    return namesOf(this) ?? [];
  }

  run(attempt: Attempt, end: End): void {
    let call: HandlerCall | Promise<HandlerCall>;
    try {
      call = this.ports.open(attempt);
    } catch (cause) {
      return this.fail(attempt, undecodable(cause), end);
    }
    if (!isPromise(call)) return this.callHooked(attempt, call, end);
    call.then(
      (opened) => this.callHooked(attempt, opened, end),
      (cause: unknown) => this.fail(attempt, undecodable(cause), end),
    );
  }

  private callHooked(attempt: Attempt, call: HandlerCall, end: End): void {
    if (!this.ports.hasHooks()) return this.call(attempt, call, end);
    const run = () => new Promise<AttemptResult>((resolve) => this.call(attempt, call, resolve));
    this.ports.hooked(call.context, run).then(end, (error: unknown) => end({ failed: true, error }));
  }

  private call(attempt: Attempt, { data, context }: HandlerCall, end: End): void {
    const fail = (error: unknown) => this.fail(attempt, error, end);
    try {
      const result: unknown = this.callback(data, context);
      if (isPromise(result)) result.then((value) => this.follow(attempt, value, end, fail), fail);
      else this.follow(attempt, result, end, fail);
    } catch (error) {
      fail(error);
    }
  }

  /** What the handler returned is done when it ends. One that is given up is unsubscribed from. */
  private follow(attempt: Attempt, result: unknown, end: End, fail: (error: unknown) => void): void {
    try {
      if (attempt.delivery.kind === 'request') {
        this.answer(attempt, result).then(end, fail);
      } else if (isObservable(result)) {
        const subscription = result.subscribe({ error: fail, complete: () => end(succeeded) });
        if (!subscription.closed) attempt.onAbort(() => subscription.unsubscribe());
      } else {
        end(succeeded);
      }
    } catch (error) {
      fail(error);
    }
  }

  private fail(attempt: Attempt, error: unknown, end: End): void {
    this.failure(attempt, error).then(end, (other: unknown) => end({ failed: true, error: other }));
  }

  /** Replies each value. Resolves at the first, or at the end where the replies wait for a commit anyway. */
  private answer(attempt: Attempt, result: unknown): Promise<AttemptResult> {
    const writer = new ReplyWriter(attempt, this.ports.encode);
    const finish = async (): Promise<AttemptResult> => {
      if (attempt.replayed) for (const reply of attempt.replayed) attempt.reply(reply);
      else await writer.end();
      return succeeded;
    };
    if (!isObservable(result)) {
      if (!attempt.replayed) writer.value(result);
      return finish();
    }
    // Before anything is subscribed to: a stream may give its first value at once.
    const ended = deferred();
    return new Promise((resolve) => {
      let resolved = false;
      const subscription = result.subscribe({
        next: (value) => {
          // Interceptors run when the stream is subscribed to: only now it is known whether the handler ran at all.
          if (attempt.replayed) return;
          writer.value(value);
          if (resolved || attempt.resource) return;
          resolved = true;
          attempt.streaming = this.streaming(ended.promise);
          resolve(succeeded);
        },
        error: (error: unknown) => {
          if (resolved) void writer.error(answerOf(error)).then(ended.resolve);
          else void this.failure(attempt, error).then(resolve);
        },
        complete: () => void finish().then(resolve).then(ended.resolve),
      });
      if (subscription.closed) return;
      attempt.onAbort(() => {
        subscription.unsubscribe();
        ended.resolve();
      });
    });
  }

  /** A stream that goes on for long must not hold the partition's offset back for ever. */
  private async streaming(ended: Promise<void>): Promise<void> {
    if (!(await this.ports.withinStreamTimeout(ended))) this.ports.onStreamTimeout(this.name);
  }

  private async failure(attempt: Attempt, error: unknown): Promise<AttemptResult> {
    if (attempt.delivery.kind === 'event') return { failed: true, error };
    const answer = await this.ports.encode({ err: answerOf(error), isDisposed: true });
    return { failed: true, error, answer };
  }
}

/** The stable names of what it may be; see `HANDLER_NAMES`. */
export function handlerNamesOf(handler: DeliveryHandler): readonly string[] {
  return handler instanceof NestDeliveryHandler ? handler.names : [];
}

/** How the server of this handler parses its records, for whoever reads one before the handler does. */
export function parserOf(handler: DeliveryHandler): ParserOptions {
  return handler instanceof NestDeliveryHandler ? handler.parser : {};
}

/** Exceptions that reach the transport as themselves are answered as Nest answers others. */
function answerOf(error: unknown): unknown {
  if (error instanceof KafkaTerminalException || error instanceof KafkaRetriableException) {
    return { status: 'error', message: error.message };
  }
  return error;
}

/** What a record that the user's deserializer refused fails with. */
export function undecodable(cause: unknown): KafkaTerminalException {
  const error = new KafkaTerminalException('The record could not be deserialized', 'undecodable');
  error.cause = cause;
  return error;
}
