import { describeError } from '../errors/describe-error.js';
import { CENTURY } from '../runtime/century.js';
import { sleep, type Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import { Periodic } from '../runtime/periodic.js';
import type { LedgerCare, Retention } from './ledger-care.js';
import type { OutboxRecord } from './ledger.js';
import type { OutboxDispatcher, RecordProducer } from './outbox-dispatcher.js';

/** How often things are done, and what they go by; milliseconds and counts. */
export interface KeeperSettings {
  /** `Infinity`: for ever. */
  readonly retention: Retention;
  /** Between two signs of life. Who has given none for three of these is dead. Default 5 000. */
  readonly beatInterval?: number | undefined;
  /** Between two sweeps of the outbox. Default 5 000. */
  readonly sweepInterval?: number | undefined;
  /** Age from which outbox records without a living owner are swept. Default 10 000. */
  readonly settled?: number | undefined;
  /** Between two rounds of pruning. Default a quarter of the shorter retention, from 1 s to 60 s. */
  readonly pruneInterval?: number | undefined;
}

const SWEEP_BATCH = 500;
/** Longest wait for the broker in one sweep: it holds a connection and locks rows. */
const SWEEP_PATIENCE = 10_000;
/** Age from which outbox records are swept although the owner of their lane lives. */
const ABANDONED = 60_000;
const PRUNE_BATCH = 2_000;
/** Batches of a round that found little: an old ledger is gone through at leisure. */
const MAX_IDLE_BATCHES = 50;

/** Keeps the ledger in order while the application runs: signs of life, sweeps, pruning. */
export class LedgerKeeper {
  private readonly tasks: readonly Periodic[];
  private readonly retention: Retention;
  private readonly silence: number;
  private readonly settled: number;
  private readonly ending = new AbortController();

  /** @param producer asked before each sweep: without one the outbox is left to other processes. */
  constructor(
    private readonly care: LedgerCare,
    private readonly dispatcher: OutboxDispatcher,
    private readonly producer: () => RecordProducer | undefined,
    settings: KeeperSettings,
    private readonly clock: Clock,
    log: Log,
  ) {
    const { beatInterval = 5_000, sweepInterval = 5_000, settled = 10_000, retention } = settings;
    const shorter = Math.min(retention.keys, retention.messageIds);
    const pruneInterval = settings.pruneInterval ?? Math.min(60_000, Math.max(1_000, shorter / 4));
    this.retention = {
      keys: Math.min(retention.keys, CENTURY),
      messageIds: Math.min(retention.messageIds, CENTURY),
    };
    this.silence = 3 * beatInterval;
    this.settled = settled;
    const periodic = (what: string, pause: number, work: (stopping: () => boolean) => Promise<void>) =>
      new Periodic(clock, pause, work, (error) => log.debug(`${what} has to wait: ${describeError(error)}`));
    this.tasks = [
      periodic('A sign of life', beatInterval, () => care.beat()),
      periodic('Sweeping the outbox', sweepInterval, (stopping) => this.sweep(stopping)),
      periodic('Pruning the ledger', pruneInterval, (stopping) => this.prune(stopping)),
    ];
  }

  start(): void {
    for (const task of this.tasks) task.start();
  }

  /** Resolves when nothing is under way any more. Idempotent; tolerates never-started. */
  async stop(): Promise<void> {
    this.ending.abort();
    await Promise.all(this.tasks.map((task) => task.stop()));
  }

  private async sweep(stopping: () => boolean): Promise<void> {
    const produce = this.producer();
    if (!produce) return;
    const bounds = {
      settled: this.settled,
      abandoned: Math.max(ABANDONED, this.settled),
      silence: this.silence,
      limit: SWEEP_BATCH,
    };
    let after: bigint | undefined = 0n;
    while (after !== undefined && !stopping()) {
      const { next } = await this.care.sweep(bounds, after, (records) => this.offer(records, produce));
      after = next;
    }
  }

  /** Resolves with what the broker has taken by then, and does not wait for the rest for ever. */
  private async offer(records: readonly OutboxRecord[], produce: RecordProducer): Promise<string[]> {
    const acknowledged: string[] = [];
    const bound = new AbortController();
    const end = () => bound.abort();
    this.ending.signal.addEventListener('abort', end, { once: true });
    await Promise.race([
      this.dispatcher.offer(records, produce, (id) => acknowledged.push(id)),
      sleep(this.clock, SWEEP_PATIENCE, bound.signal),
    ]);
    this.ending.signal.removeEventListener('abort', end);
    bound.abort();
    return [...acknowledged];
  }

  private async prune(stopping: () => boolean): Promise<void> {
    for (let idle = 0; idle < MAX_IDLE_BATCHES && !stopping();) {
      const { deleted, more } = await this.care.prune(this.retention, PRUNE_BATCH);
      if (!more) return;
      if (deleted < PRUNE_BATCH / 2) idle++;
    }
  }
}
