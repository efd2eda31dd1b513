/** What a consumer counts; owned by it, read here. */
export interface ConsumerCounters {
  /** Runs of durable handlers that failed and were tried again. */
  readonly retried: number;
  /** Times that work was held because the ledger or the broker could not be reached. */
  readonly gateClosed: number;
}

/** Since the process started. */
export interface DurableCounters {
  /** Deliveries whose handler ran and whose transaction committed. */
  readonly handled: number;
  /** Deliveries whose handler did not run because their key was handled before. */
  readonly suppressed: number;
  /** Runs that failed and were tried again. */
  readonly retried: number;
  /** Requests that ended in an error reply. */
  readonly failed: number;
  /** Records given up on. */
  readonly dead: number;
  /** Records queued behind a failed one of their key. */
  readonly parked: number;
  /** Dead or parked records put back. */
  readonly redriven: number;
  /** Transactions refused because another process had taken the partition over. */
  readonly fenced: number;
  /** Times that work was held because the ledger or the broker could not be reached. */
  readonly gateClosed: number;
}

/** Counts for `DurableLedger.counters()`: plain numbers, changed where things happen. */
export class LedgerCounters {
  handled = 0;
  suppressed = 0;
  failed = 0;
  dead = 0;
  parked = 0;
  redriven = 0;
  fenced = 0;
  private readonly consumers = new Set<ConsumerCounters>();

  /** Has a consumer's counts added up with ours. Idempotent. */
  include(counters: ConsumerCounters): void {
    this.consumers.add(counters);
  }

  snapshot(): DurableCounters {
    const { handled, suppressed, failed, dead, parked, redriven, fenced } = this;
    let retried = 0;
    let gateClosed = 0;
    for (const consumer of this.consumers) {
      retried += consumer.retried;
      gateClosed += consumer.gateClosed;
    }
    return { handled, suppressed, retried, failed, dead, parked, redriven, fenced, gateClosed };
  }
}
