import type { Clock } from '../runtime/clock.js';
import { operatorEvents, type RecordFacts } from '../runtime/operator-events.js';
import type { Attempt, Delivery } from './attempt.js';
import { errorFacts } from './dead-letter.js';
import type { Decision } from './decision.js';
import type { Ending } from './group.js';

const { delivered, completed, duplicate, failed, dead, parked, skipped } = operatorEvents;

/** Tells operators' tools what becomes of a partition's deliveries. */
export class DeliveryEvents {
  /** When a handler was called; only while somebody asks for durations. */
  private readonly began = new WeakMap<Delivery, number>();

  constructor(
    private readonly group: string,
    private readonly clock: Clock,
  ) {}

  called(delivery: Delivery): void {
    if (completed.hasSubscribers) this.began.set(delivery, this.clock.monotonic());
    if (!delivered.hasSubscribers) return;
    delivered.publish({ ...this.facts(delivery), attempt: delivery.failures + 1 });
  }

  succeeded({ delivery, isDuplicate, isParked }: Attempt): void {
    if (isParked) return this.parked(delivery, 'behind');
    if (isDuplicate) {
      if (duplicate.hasSubscribers) duplicate.publish(this.facts(delivery));
      return;
    }
    if (!completed.hasSubscribers) return;
    const began = this.began.get(delivery);
    const duration = began === undefined ? undefined : this.clock.monotonic() - began;
    completed.publish({ ...this.facts(delivery), attempt: delivery.failures + 1, duration });
  }

  failed(delivery: Delivery, error: unknown, decision: Decision, delay: number | undefined): void {
    if (!failed.hasSubscribers) return;
    const { name } = errorFacts(error);
    const { failures } = delivery;
    failed.publish({ ...this.facts(delivery), attempt: failures, errorClass: name, decision, delay });
  }

  ended(delivery: Delivery, { state, reason, error }: Ending): void {
    if (state === 'parked') return this.parked(delivery, 'exhausted');
    const event = state === 'dead' ? dead : state === 'skipped' ? skipped : undefined;
    if (!event?.hasSubscribers) return;
    const { name } = errorFacts(error);
    event.publish({ ...this.facts(delivery), attempts: delivery.failures, reason, errorClass: name });
  }

  /** @param why it failed too often, came `behind` such a one, or is held for an operator. */
  parked(delivery: Delivery, why: 'exhausted' | 'behind' | 'held'): void {
    if (parked.hasSubscribers) parked.publish({ ...this.facts(delivery), why, failures: delivery.failures });
  }

  private facts({ handler, record }: Delivery): RecordFacts {
    const { topic, partition, offset } = record;
    return { group: this.group, handler: handler.name, topic, partition, offset };
  }
}
