import { applyDecorators, SetMetadata, UseInterceptors } from '@nestjs/common';
import type { ParsedMessage } from '../messages/parser.js';
import { DurableInterceptor } from './durable.interceptor.js';
import { DURABLE_METADATA, type DurableMetadata } from './durable-metadata.accessor.js';

export interface DurableOptions {
  /**
   * Stable name of the handler, part of the scope of its idempotency keys. Default `Class.method`: set it before you
   * rename a class or a method, or its history is lost to it.
   */
  name?: string;
  /**
   * The idempotency key of a message. Must return the same for what is the same to you; `undefined`, `null` and `''`
   * are errors. Default: the key header, the message id, the position.
   */
  // Handlers know their messages: the payload's type is theirs to say.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  key?: (message: ParsedMessage & { value: any; key: any }) => string | number | bigint | Buffer;
}

/** Makes a handler durable and says how. Needed only for options, or under `forRoot({ global: false })`. */
export function Durable(options: DurableOptions = {}): MethodDecorator {
  return applyDecorators(metadata({ durable: true, ...options }), UseInterceptors(DurableInterceptor));
}

/** Takes a handler, or all of a controller, out of durable execution: it runs at least once, without a transaction. */
export function NotDurable(): MethodDecorator & ClassDecorator {
  return metadata({ durable: false });
}

function metadata(value: DurableMetadata) {
  return SetMetadata(DURABLE_METADATA, value);
}
