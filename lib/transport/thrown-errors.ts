import type { ArgumentsHost } from '@nestjs/common';
import { BaseRpcExceptionFilter } from '@nestjs/microservices';
import { attemptOf } from './kafka-delivery.context.js';

const noting = new WeakSet<object>();

/**
 * Has Nest's own exception filter note what a handler threw before it makes "Internal server error" of it: what follows a
 * failure, and what a dead letter says, goes by the original. Nothing else of the filter changes, and nothing for other
 * transports. Idempotent.
 */
export function noteThrownErrors(): void {
  const { prototype } = BaseRpcExceptionFilter;
  if (noting.has(prototype)) return;
  noting.add(prototype);
  // Called with its own `this` below.

  const original = prototype.catch;
  prototype.catch = function (this: BaseRpcExceptionFilter, exception: unknown, host: ArgumentsHost) {
    const attempt = attemptOf(host.switchToRpc().getContext());
    if (attempt) attempt.thrown ??= { error: exception };
    return original.call(this, exception, host);
  };
}
