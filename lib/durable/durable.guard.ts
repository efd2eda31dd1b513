import { Inject, Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { attemptOf } from '../transport/kafka-delivery.context.js';
import { DURABLE_CORE } from './durable-core.js';
import { DurableMetadataAccessor } from './durable-metadata.accessor.js';
import { GroupEnlistment, type DurableCore } from './group-enlistment.js';

/**
 * Lets everything pass. Guards run before interceptors: what one of them refuses or throws has no part in durable
 * execution yet, so it is noted here how the record can get one, for its ending.
 */
@Injectable()
export class DurableGuard implements CanActivate {
  constructor(
    @Inject(DURABLE_CORE) private readonly core: DurableCore,
    private readonly handlers: DurableMetadataAccessor,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const attempt = context.getType() === 'rpc' ? attemptOf(context.switchToRpc().getContext()) : undefined;
    if (!attempt) return true;
    const handler = this.handlers.of(context);
    if (!handler.durable) return true;
    const { letter } = attempt.delivery;
    if (letter && letter.handler !== handler.id) return true;
    attempt.enlistLate = () => {
      attempt.delivery.handler.name = handler.id;
      const mode = handler.mode ?? this.core.mode;
      attempt.group
        .enlist(attempt, (group) => new GroupEnlistment(group, this.core, mode))
        .workOf(attempt.delivery, handler);
    };
    return true;
  }
}
