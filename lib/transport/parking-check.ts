import type { EngineOptions } from '../consumption/engine-context.js';
import type { Parking } from '../consumption/parking.js';
import { InvalidOptionError } from '../errors/errors.js';
import type { HandlerRegistry } from './handler-registry.js';

/**
 * Parked records wait in the ledger, under the names of durable handlers.
 * @throws InvalidOptionError
 */
export function expectParking(
  { onExhausted }: EngineOptions,
  parking: Parking | undefined,
  registry: HandlerRegistry,
): void {
  if (onExhausted !== 'park') return;
  if (!parking) {
    throw new InvalidOptionError(
      'onExhausted',
      "is 'park', and there is no ledger to park records in: import DurableModule, or choose 'dead-letter' or 'block'",
    );
  }
  const [pattern] = registry.unnamedEvents;
  if (pattern === undefined) return;
  throw new InvalidOptionError(
    'onExhausted',
    `is 'park', and the handler of "${String(pattern)}" is not durable. Make it so (under forRoot({ global: false }) with ` +
      "@Durable()), or give it to a server of its own, with 'dead-letter' or 'block'",
  );
}
