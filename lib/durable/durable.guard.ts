import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { attemptOf } from '../transport/kafka-delivery.context.js';
import { DurableMetadataAccessor } from './durable-metadata.accessor.js';
import { LateEnlistment } from './late-enlistment.js';

/**
 * Lets everything pass, and notes which handler is called: where controllers inherit a method from one class, nothing else
 * tells that before the interceptor. Bound only where they do, since a guard costs Nest four promises per record.
 */
@Injectable()
export class DurableGuard implements CanActivate {
  constructor(
    private readonly late: LateEnlistment,
    private readonly handlers: DurableMetadataAccessor,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const attempt = context.getType() === 'rpc' ? attemptOf(context.switchToRpc().getContext()) : undefined;
    if (attempt) this.late.meet(attempt.delivery.handler, this.handlers.of(context));
    return true;
  }
}
