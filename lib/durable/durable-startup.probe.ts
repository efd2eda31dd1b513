import { Controller, type ExecutionContext, type Type } from '@nestjs/common';
import { EventPattern, Payload, Transport } from '@nestjs/microservices';
import { InvalidOptionError, NotDurableError } from '../errors/errors.js';
import type { Ledger } from '../execution/ledger.js';
import { STARTUP_PROBE, type StartupFacts, type StartupProbeCall } from '../transport/startup-probe.js';
import { TRANSPORT_METADATA } from './nest-metadata.js';

/** Finds out whether the interceptor is in the way of a server's handlers, as it should be. */
export function isProbeCall(context: ExecutionContext): boolean {
  return isProbeController(context.getClass());
}

/** To be called by the interceptor where it meets the probe. */
export function answerProbe(call: unknown): void {
  (call as StartupProbeCall).reached = true;
}

/** What all probe controllers have in common. */
abstract class ProbeController {
  abstract notReached(call: unknown): void;
}

export function isProbeController(type: unknown): type is Type<ProbeController> {
  return typeof type === 'function' && type.prototype instanceof ProbeController;
}

/** Has Nest register the probe with `server` too: handlers are for one transport id, and servers may have others. */
export function aimProbe(
  controller: Type<ProbeController>,
  { transportId }: { transportId?: unknown },
): void {
  const { notReached } = controller.prototype as ProbeController;
  Reflect.defineMetadata(TRANSPORT_METADATA, transportId, notReached);
}

/**
 * Its handler is there for the interceptor to be called before it; see `STARTUP_PROBE`. A class per module, since
 * where it is aimed at is written on it.
 */
export function createProbeController(): Type<ProbeController> {
  @Controller()
  class DurableProbeController extends ProbeController {
    @EventPattern('nestjs-durable-kafka.startup-probe', Transport.KAFKA, { [STARTUP_PROBE]: true })
    notReached(@Payload() call: unknown): void {
      (call as StartupProbeCall).refusal = new NotDurableError(
        'DurableModule is imported, but its interceptor does not reach the handlers of this Kafka server: they would run ' +
          'without durability. In a hybrid application pass { inheritAppConfig: true } to connectMicroservice(), or bind ' +
          'handlers yourself with @Durable() under DurableModule.forRoot({ global: false }).',
      );
    }
  }
  return DurableProbeController;
}

/**
 * Makes a server's start wait for the ledger, and refuses one whose options contradict durable handlers.
 * @throws InvalidOptionError
 */
export async function prepareLedger(ledger: Ledger, facts: StartupFacts): Promise<void> {
  expectOwnOffsets(facts);
  await ledger.open();
  ledger.reserve(facts.concurrency);
}

function expectOwnOffsets({ insistsOnAutoCommit, manualCommit }: StartupFacts): void {
  if (insistsOnAutoCommit) {
    throw new InvalidOptionError(
      'run.autoCommit',
      'is true, but with DurableModule offsets follow the ledger: they are committed when a record is done. Remove it',
    );
  }
  if (manualCommit) {
    throw new InvalidOptionError(
      'run.autoCommit',
      'is false, but with DurableModule offsets follow the ledger: nobody else may commit them. Remove it, or take the ' +
        'handlers that commit themselves to a server in an application of their own',
    );
  }
}
