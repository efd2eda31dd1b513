import type { DeadCount, DeadFacts } from '../execution/ledger-redrive.js';
import type { Scope } from '../execution/ledger.js';
import { sleep, type Clock } from '../runtime/clock.js';
import { operatorEvents } from '../runtime/operator-events.js';
import { checkGiven } from './ledger-filters.js';

/** Which dead records to put back; what is absent says nothing. Times are milliseconds since the epoch. */
export interface RedriveFilter extends DeadFacts {
  /**
   * A dead-letter topic, which is read in place of the ledger: also for handlers that are not durable, and for records that
   * the ledger has forgotten.
   */
  readonly from?: string | undefined;
  /** The idempotency key as it was given; a position reads `topicId/partition/offset`. */
  readonly key?: string | undefined;
}

export interface RedriveOptions {
  /** Puts nothing back, and tells what would be looked at. Default `false`. */
  readonly dryRun?: boolean | undefined;
  /** Most records that are put back. Default: all. */
  readonly limit?: number | undefined;
  /** Most records put back per second. Default: as fast as it goes. */
  readonly rate?: number | undefined;
  /** A record that was put back that often is left. Default 3. */
  readonly maxRedrives?: number | undefined;
  /** Ends it between two batches. */
  readonly signal?: AbortSignal | undefined;
}

export interface RedriveReport {
  /** Records that are on their way back. */
  readonly redriven: number;
  /** Parked sequences whose heads are tried at once; of a dry run, those that would be. */
  readonly parked: number;
  /** Left because they were put back `maxRedrives` times already. */
  readonly tooOften: number;
  /** Left because no handler of that name consumes their topic in that group in this application. */
  readonly notConsumed: number;
  /** Letters of a topic that were put back before, or whose message has been dealt with since. */
  readonly done: number;
  /** Letters of a topic whose record may still come back by itself, or whose key is in work: call again later. */
  readonly early: number;
  /** Records of the topic that are no dead letters. */
  readonly notLetters: number;
  /** Of a dry run: what fits the filter, by kind, most frequent first; from a topic only what would be put back. */
  readonly histogram: readonly DeadCount[];
}

const MAX_BATCH = 100;
/** With a rate, batches begin this often per second. */
const BATCHES_PER_SECOND = 5;

/** Counts and paces one call of `redrive()`. */
export class RedriveRun {
  readonly isDry: boolean;
  readonly signal: AbortSignal;
  private readonly limit: number;
  private readonly rate: number;
  private readonly maxRedrives: number;
  private readonly counts = {
    redriven: 0,
    parked: 0,
    tooOften: 0,
    notConsumed: 0,
    done: 0,
    early: 0,
    notLetters: 0,
  };

  /** @throws InvalidOptionError */
  constructor(
    options: RedriveOptions,
    private readonly clock: Clock,
  ) {
    checkGiven('redrive.options', options);
    const { dryRun = false, limit = Infinity, rate = Infinity, maxRedrives = 3, signal } = options;
    this.isDry = dryRun;
    this.limit = limit;
    this.rate = rate;
    this.maxRedrives = maxRedrives;
    this.signal = signal ?? new AbortController().signal;
  }

  /** Most records of the next batch. */
  get batch(): number {
    const paced = Math.max(1, Math.min(MAX_BATCH, Math.ceil(this.rate / BATCHES_PER_SECOND)));
    return Math.min(paced, this.limit - this.counts.redriven);
  }

  get isOver(): boolean {
    return this.signal.aborted || this.counts.redriven >= this.limit;
  }

  /** Whether a record may be put back for the `count`th time. */
  allows(count: number): boolean {
    return count <= this.maxRedrives;
  }

  add(counts: Partial<Omit<RedriveReport, 'histogram'>>): void {
    for (const [name, count] of Object.entries(counts))
      this.counts[name as keyof typeof this.counts] += count;
  }

  /** Waits as long as so many records take at the rate. */
  async pace(redriven: number): Promise<void> {
    if (redriven === 0 || this.rate === Infinity) return;
    await sleep(this.clock, (redriven / this.rate) * 1000, this.signal);
  }

  report(histogram: readonly DeadCount[] = []): RedriveReport {
    return { ...this.counts, histogram };
  }
}

/** Tells operators of a record that is on its way back. */
export function publishRedriven(
  { group, handler }: Scope,
  { topic, partition, offset }: { topic: string; partition: number; offset: bigint },
  redrives: number,
): void {
  const { redriven } = operatorEvents;
  if (redriven.hasSubscribers) redriven.publish({ group, handler, topic, partition, offset, redrives });
}
