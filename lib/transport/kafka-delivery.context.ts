import { KafkaContext } from '@nestjs/microservices';
import type { Attempt } from '../consumption/attempt.js';

type KafkaContextArgs = ConstructorParameters<typeof KafkaContext>[0];

const attempts = new WeakMap<object, Attempt>();

/**
 * What `@Ctx()` hands to a handler: Nest's `KafkaContext`, and what this transport knows beyond it. One per attempt.
 */
export class KafkaDeliveryContext extends KafkaContext {
  constructor(args: KafkaContextArgs, attempt: Attempt) {
    super(args);
    attempts.set(this, attempt);
  }

  /** 1 for the first run of the handler for this record in this process. */
  get attempt(): number {
    return attemptOf(this)!.number;
  }

  /**
   * Aborts when the handler's work is no longer wanted: at `handlerTimeout`, when the partition was taken away, and
   * when `shutdownTimeout` is over.
   */
  get signal(): AbortSignal {
    return attemptOf(this)!.signal;
  }
}

/** The attempt behind a handler's context; `undefined` for a context of another transport. For interceptors. */
export function attemptOf(context: unknown): Attempt | undefined {
  return typeof context === 'object' && context !== null ? attempts.get(context) : undefined;
}
