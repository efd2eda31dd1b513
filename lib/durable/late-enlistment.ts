import type { ModulesContainer } from '@nestjs/core';
import type { Attempt, DeliveryHandler } from '../consumption/attempt.js';
import { handlerNamesOf } from '../transport/nest-delivery-handler.js';
import { ServerKafka } from '../transport/server-kafka.js';
import type { DurableHandler } from './durable-metadata.accessor.js';
import { GroupEnlistment, type DurableCore } from './group-enlistment.js';

/**
 * Gives attempts that failed before the interceptor was reached, in a guard for instance, their part in durable execution,
 * so that their ending is written down.
 */
export class LateEnlistment {
  private readonly met = new WeakMap<DeliveryHandler, DurableHandler>();

  /** @param byName durable handlers that their name is enough for. */
  constructor(
    private readonly core: DurableCore,
    private readonly byName: ReadonlyMap<string, DurableHandler>,
  ) {}

  /** Says which handler it is, for those that share a method and so have each other's names too. */
  meet(deliveryHandler: DeliveryHandler, handler: DurableHandler): void {
    this.met.set(deliveryHandler, handler);
  }

  /** Does nothing for a handler that is not durable. */
  readonly enlist = (attempt: Attempt): void => {
    const { delivery, group } = attempt;
    const handler = this.met.get(delivery.handler) ?? this.named(handlerNamesOf(delivery.handler));
    if (!handler?.durable) return;
    if (delivery.letter && delivery.letter.handler !== handler.id) return;
    delivery.handler.name = handler.id;
    const mode = handler.mode ?? this.core.mode;
    group.enlist(attempt, (whole) => new GroupEnlistment(whole, this.core, mode)).workOf(delivery, handler);
  };

  private named(names: readonly string[]): DurableHandler | undefined {
    return names.length === 1 ? this.byName.get(names[0]!) : undefined;
  }
}

/** Has the servers of an application ask for it. */
export function offerLateEnlistment(modules: ModulesContainer, late: LateEnlistment): void {
  modules.getRpcTargetRegistry().subscribe((server: unknown) => {
    if (server instanceof ServerKafka) server.extend({ enlistLate: late.enlist });
  });
}
