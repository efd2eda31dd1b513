import { Controller, Inject, Injectable, type ExecutionContext, type Type } from '@nestjs/common';
import { EventPattern, Payload, Transport } from '@nestjs/microservices';
import { InvalidOptionError, NotDurableError } from '../errors/errors.js';
import type { Ledger } from '../execution/ledger.js';
import { STARTUP_PROBE, type StartupProbeCall } from '../transport/startup-probe.js';
import { LEDGER } from './durable.options.js';
import { TRANSPORT_METADATA } from './handler-names.js';

/** Makes a server's start wait for the ledger, and refuses one that would run handlers without durability. */
@Injectable()
export class DurableStartupProbe {
  /** Transactions that each server of the application may have open at once. */
  private readonly reserved = new Map<object, number>();

  constructor(@Inject(LEDGER) private readonly ledger: Ledger) {}

  isCalled(context: ExecutionContext): boolean {
    return isProbeController(context.getClass());
  }

  /** The interceptor is in the way of this server's handlers, as it should be. */
  async reached(call: unknown): Promise<void> {
    const probe = call as StartupProbeCall;
    try {
      check(probe);
      await this.ledger.open();
      this.reserved.set(probe.server, probe.concurrency);
      this.ledger.reserve([...this.reserved.values()].reduce((sum, each) => sum + each, 0));
    } catch (error) {
      probe.refusal = error as Error;
    }
  }
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

function check({ insistsOnAutoCommit, manualCommit }: StartupProbeCall): void {
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
