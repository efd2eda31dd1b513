import type { ExecutionContext } from '@nestjs/common';
import type { ParsedMessage } from '../messages/parser.js';

/**
 * - `transaction`: a handler runs in the transaction that also records that it ran; several records share one.
 * - `claim`: for handlers with side effects outside of Postgres. No transaction is open while one runs; it holds a claim
 *   with a lease, and what is recorded by steps is not repeated.
 */
export type ExecutionMode = 'transaction' | 'claim';

export const EXECUTION_MODES: readonly ExecutionMode[] = ['transaction', 'claim'];

/** What `@Durable()` takes. */
export interface DurableOptions {
  /**
   * Stable name of the handler, part of the scope of its idempotency keys. Default `Class.method`: set it before you
   * rename a class or a method, or its history is lost to it.
   */
  name?: string;
  /**
   * The idempotency key of a message: of the record as it is parsed for handlers and deserializers, which is not what a
   * `deserializer` of the user makes of it. Must return the same for what is the same to you; `undefined`, `null` and `''`
   * are errors. Default: the key header, the message id, the position.
   */
  // Handlers know their messages: the payload's type is theirs to say.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  key?: (message: ParsedMessage & { value: any; key: any }) => string | number | bigint | Buffer;
  /** Default: the option `mode` of `DurableModule`. */
  mode?: ExecutionMode;
}

export const DURABLE_METADATA = Symbol('DURABLE_METADATA');

export interface DurableMetadata extends DurableOptions {
  readonly durable: boolean;
}

/** A handler as durable execution sees it. */
export interface DurableHandler {
  /** Part of the scope: unique within a consumer group. */
  readonly id: string;
  readonly durable: boolean;
  readonly key: DurableOptions['key'];
  /** `undefined`: what the module says. */
  readonly mode: ExecutionMode | undefined;
}

/** The one reader of what `@Durable()` and `@NotDurable()` wrote. */
export class DurableMetadataAccessor {
  private readonly known = new WeakMap<Function, Map<Function, DurableHandler>>();

  of(context: ExecutionContext): DurableHandler {
    const controller = context.getClass();
    const method = context.getHandler();
    let methods = this.known.get(controller);
    if (!methods) this.known.set(controller, (methods = new Map()));
    let handler = methods.get(method);
    if (!handler) methods.set(method, (handler = handlerOf(controller, method)));
    return handler;
  }
}

/** Whether a decorator says anything about a handler or its controller. */
export function isMarked(controller: Function, method: Function): boolean {
  return Reflect.hasMetadata(DURABLE_METADATA, method) || Reflect.hasMetadata(DURABLE_METADATA, controller);
}

/** Whether a method has `@Durable()`. */
export function isDurable(method: Function): boolean {
  return (Reflect.getMetadata(DURABLE_METADATA, method) as DurableMetadata | undefined)?.durable === true;
}

export function handlerOf(controller: Function, method: Function): DurableHandler {
  const own = Reflect.getMetadata(DURABLE_METADATA, method) as DurableMetadata | undefined;
  const inherited = Reflect.getMetadata(DURABLE_METADATA, controller) as DurableMetadata | undefined;
  const metadata = own ?? inherited ?? { durable: true };
  return {
    id: metadata.name ?? `${controller.name}.${method.name}`,
    durable: metadata.durable,
    key: metadata.key,
    mode: metadata.mode,
  };
}
