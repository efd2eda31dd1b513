import { KafkaContext } from '@nestjs/microservices';
import type { Attempt } from '../consumption/attempt.js';
import { describeKey } from '../messages/idempotency-key.js';

type KafkaContextArgs = ConstructorParameters<typeof KafkaContext>[0];
type Consumer = ReturnType<KafkaContext['getConsumer']>;

/** What a context may ask of the server that it belongs to. */
export interface DeliveryHost {
  /** Has the attempt's partition rest, and returns what ends that. */
  pause(attempt: Attempt): () => void;
  /** The consumer as a handler gets it whose offsets follow the ledger. */
  readonly durableConsumer: unknown;
}

/**
 * What `@Ctx()` hands to a handler: Nest's `KafkaContext`, and what this transport knows beyond it. One per attempt.
 */
export class KafkaDeliveryContext extends KafkaContext {
  // Hidden: a context is logged and inspected by users, who are to see Nest's own fields.
  readonly #attempt: Attempt;
  readonly #host: DeliveryHost;

  constructor(args: KafkaContextArgs, attempt: Attempt, host: DeliveryHost) {
    super(args);
    this.#attempt = attempt;
    this.#host = host;
  }

  /** The attempt behind a handler's context; `undefined` for anything else. */
  static attemptOf(context: unknown): Attempt | undefined {
    const isOurs = typeof context === 'object' && context !== null && #attempt in context;
    return isOurs ? context.#attempt : undefined;
  }

  /** 1 for the first run for this record, plus the failures so far: of a durable handler also those of earlier processes. */
  get attempt(): number {
    return this.#attempt.number;
  }

  /**
   * The idempotency key of the message, the same at every attempt; `undefined` where the handler is not durable, and in
   * what runs before durable execution (guards, interceptors bound before it).
   */
  get key(): string | undefined {
    const { key } = this.#attempt;
    return key && describeKey(key);
  }

  /**
   * `true` if this process called a handler for the record before: it failed, its transaction was undone, or the
   * partition was taken away and came back. `false` proves nothing: another process may have called it and died.
   */
  get redelivered(): boolean {
    return this.#attempt.redelivered;
  }

  /**
   * Aborts when the handler's work is no longer wanted: at `handlerTimeout`, when the partition was taken away, and
   * when `shutdownTimeout` is over.
   */
  get signal(): AbortSignal {
    return this.#attempt.signal;
  }

  /**
   * Has no handler called for this record's partition, and nothing fetched of it, until the returned function is
   * called; other partitions go on. The handler that runs ends as always: if it fails, it is tried again after the
   * pause. A partition that is assigned anew is not paused.
   */
  pause(): () => void {
    return this.#host.pause(this.#attempt);
  }

  /**
   * The driver's consumer. In a durable handler its `commitOffsets()` does nothing but warn once: offsets follow the
   * ledger.
   */
  override getConsumer(): Consumer {
    return this.#attempt.resource ? (this.#host.durableConsumer as Consumer) : super.getConsumer();
  }
}

/** The attempt behind a handler's context; `undefined` for a context of another transport. For interceptors. */
export function attemptOf(context: unknown): Attempt | undefined {
  return KafkaDeliveryContext.attemptOf(context);
}
