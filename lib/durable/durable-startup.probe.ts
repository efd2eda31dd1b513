import { Controller, Inject, Injectable, type ExecutionContext } from '@nestjs/common';
import { EventPattern, Payload, Transport } from '@nestjs/microservices';
import { InvalidOptionError, NotDurableError } from '../errors/errors.js';
import type { Ledger } from '../execution/ledger.js';
import { STARTUP_PROBE, type StartupProbeCall } from '../transport/startup-probe.js';
import { LEDGER } from './durable.options.js';

/** Makes a server's start wait for the ledger, and refuses one that would run handlers without durability. */
@Injectable()
export class DurableStartupProbe {
  constructor(@Inject(LEDGER) private readonly ledger: Ledger) {}

  isCalled(context: ExecutionContext): boolean {
    return context.getClass() === DurableProbeController;
  }

  /** The interceptor is in the way of this server's handlers, as it should be. */
  async reached(call: unknown): Promise<void> {
    const probe = call as StartupProbeCall;
    try {
      check(probe);
      await this.ledger.open();
      this.ledger.reserve(probe.concurrency);
    } catch (error) {
      probe.refusal = error as Error;
    }
  }
}

/** Its handler is there for the interceptor to be called before it; see `STARTUP_PROBE`. */
@Controller()
export class DurableProbeController {
  @EventPattern('nestjs-durable-kafka.startup-probe', Transport.KAFKA, { [STARTUP_PROBE]: true })
  notReached(@Payload() call: unknown): void {
    (call as StartupProbeCall).refusal = new NotDurableError(
      'DurableModule is imported, but its interceptor does not reach the handlers of this Kafka server: they would run ' +
        'without durability. In a hybrid application pass { inheritAppConfig: true } to connectMicroservice(), or bind ' +
        'handlers yourself with @Durable() under DurableModule.forRoot({ global: false }).',
    );
  }
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
