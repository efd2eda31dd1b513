import { NotDurableError } from '../errors/errors.js';

/** @param name of a method. */
export function notForKafka(name: string): NotDurableError {
  return new NotDurableError(
    `${name} has @Durable(), but what comes to it is no record of Kafka: it would run without durability. @Durable() is for ` +
      'methods of controllers with @EventPattern() or @MessagePattern(), for Transport.KAFKA if a transport is named there. ' +
      'Elsewhere use DurableLedger.transaction().',
  );
}
