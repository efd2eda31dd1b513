import { KafkaContext } from '@nestjs/microservices';
import type { Attempt } from '../consumption/attempt.js';

type KafkaContextArgs = ConstructorParameters<typeof KafkaContext>[0];
type Consumer = ReturnType<KafkaContext['getConsumer']>;

/** What a context may ask of the server that it belongs to. */
export interface DeliveryHost {
  /** Has the attempt's partition rest, and returns what ends that. */
  pause(attempt: Attempt): () => void;
  /** The consumer as a handler gets it whose offsets follow the ledger. */
  readonly durableConsumer: unknown;
}

interface Delivered {
  readonly attempt: Attempt;
  readonly host: DeliveryHost;
}

// Not in fields: a context is logged and inspected by users, who are to see Nest's own.
const deliveries = new WeakMap<object, Delivered>();

/**
 * What `@Ctx()` hands to a handler: Nest's `KafkaContext`, and what this transport knows beyond it. One per attempt.
 */
export class KafkaDeliveryContext extends KafkaContext {
  constructor(args: KafkaContextArgs, attempt: Attempt, host: DeliveryHost) {
    super(args);
    deliveries.set(this, { attempt, host });
  }

  /** 1 for the first run for this record, plus the failures so far: of a durable handler also those of earlier processes. */
  get attempt(): number {
    return delivered(this).attempt.number;
  }

  /**
   * The idempotency key of the message, the same at every attempt; `undefined` where the handler is not durable, and in
   * what runs before durable execution (guards, interceptors bound before it).
   */
  get key(): string | undefined {
    return delivered(this).attempt.key;
  }

  /**
   * `true` if this process called a handler for the record before: it failed, its transaction was undone, or the
   * partition was taken away and came back. `false` proves nothing: another process may have called it and died.
   */
  get redelivered(): boolean {
    return delivered(this).attempt.redelivered;
  }

  /**
   * Aborts when the handler's work is no longer wanted: at `handlerTimeout`, when the partition was taken away, and
   * when `shutdownTimeout` is over.
   */
  get signal(): AbortSignal {
    return delivered(this).attempt.signal;
  }

  /**
   * Has no handler called for this record's partition, and nothing fetched of it, until the returned function is
   * called; other partitions go on. The handler that runs ends as always: if it fails, it is tried again after the
   * pause. A partition that is assigned anew is not paused.
   */
  pause(): () => void {
    const { attempt, host } = delivered(this);
    return host.pause(attempt);
  }

  /**
   * The driver's consumer. In a durable handler its `commitOffsets()` does nothing but warn once: offsets follow the
   * ledger.
   */
  override getConsumer(): Consumer {
    const { attempt, host } = delivered(this);
    return attempt.resource ? (host.durableConsumer as Consumer) : super.getConsumer();
  }
}

/** The attempt behind a handler's context; `undefined` for a context of another transport. For interceptors. */
export function attemptOf(context: unknown): Attempt | undefined {
  return typeof context === 'object' && context !== null ? deliveries.get(context)?.attempt : undefined;
}

function delivered(context: KafkaDeliveryContext): Delivered {
  return deliveries.get(context)!;
}
