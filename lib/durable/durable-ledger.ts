import { Inject, Injectable } from '@nestjs/common';
import { LedgerUnreachableError, WrongCallOrderError } from '../errors/errors.js';
import type { DurableCounters } from '../execution/ledger-counters.js';
import type { Scope } from '../execution/ledger.js';
import type { ParkedFilter, ParkedHead } from '../execution/ledger-parking.js';
import type {
  ExecutionFilter,
  ExecutionInWork,
  ExecutionPage,
  LedgerExecution,
  OutboxLag,
  ScopeCounts,
} from '../execution/ledger-reader.js';
import { encodedForms } from '../messages/idempotency-key.js';
import type { TransactionClient } from '../postgres/transaction-client.js';
import { text } from '../transport/option-checks.js';
import { DURABLE_CORE } from './durable-core.js';
import type { DurableCore } from './group-enlistment.js';
import { durableRuns, expectNothingNested, type TransactionRun } from './handler-run.js';
import { checkGiven, checkOrder } from './ledger-filters.js';
import { OutboxOutlet } from './outbox-outlet.js';
import type { RedriveFilter, RedriveOptions, RedriveReport } from './redrive-run.js';
import { Redriver } from './redriver.js';

export interface ExecutionQuery extends ExecutionFilter {
  /** Executions of a page, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
  /** The `next` of the page before. */
  readonly after?: string | undefined;
}

export interface InWorkQuery extends Partial<Scope> {
  /** At most so many, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
}

export interface ParkedQuery extends ParkedFilter {
  /** At most so many, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
  /** The `id` of the last one of the page before. */
  readonly after?: string | undefined;
}

export interface DropParkedOptions {
  /** Also what waits behind the head. Default `false`. */
  readonly all?: boolean | undefined;
}

const DEFAULT_LIMIT = 100;

/** Injected where people look into the ledger, and where work outside handlers writes and emits in one transaction. */
@Injectable()
export class DurableLedger {
  constructor(
    @Inject(DURABLE_CORE) private readonly core: DurableCore,
    private readonly outlet: OutboxOutlet,
    private readonly redriver: Redriver,
  ) {}

  /**
   * The executions under an idempotency key: one for each handler and group that met it, unless they are named.
   * @param key as it was given; a position reads `topicId/partition/offset`.
   * @throws IdempotencyKeyError, InvalidOptionError, LedgerUnreachableError
   */
  async find(key: string, scope: Partial<Scope> = {}): Promise<LedgerExecution[]> {
    text('DurableLedger.find.key', key);
    checkGiven('find', scope);
    return this.core.ledger.reader.find(encodedForms(key), scope);
  }

  /**
   * Executions that ended, newest first, page by page. In a big ledger name a `state` other than `completed`, or `since`.
   * @throws InvalidOptionError, LedgerUnreachableError, WrongCallOrderError
   */
  async list(query: ExecutionQuery = {}): Promise<ExecutionPage> {
    checkGiven('list', query);
    const { limit = DEFAULT_LIMIT, after, ...filter } = query;
    return this.core.ledger.reader.list(filter, limit, after);
  }

  /**
   * How many executions each handler has in each state. Reads the whole ledger.
   * @throws InvalidOptionError, LedgerUnreachableError
   */
  async counts(scope: Partial<Scope> = {}): Promise<ScopeCounts[]> {
    checkGiven('counts', scope);
    return this.core.ledger.reader.counts(scope);
  }

  /**
   * What is committed and not yet noted as produced: milliseconds are normal, a growing age means that the broker is down
   * or nobody sweeps.
   * @throws LedgerUnreachableError
   */
  async oldestUndispatched(): Promise<OutboxLag> {
    return this.core.ledger.reader.outboxLag();
  }

  /**
   * What handlers in claim mode have in work, oldest first: the first one tells how long the oldest has been going on.
   * @throws InvalidOptionError, LedgerUnreachableError
   */
  async inWork(query: InWorkQuery = {}): Promise<ExecutionInWork[]> {
    checkGiven('inWork', query);
    const { limit = DEFAULT_LIMIT, ...scope } = query;
    return this.core.ledger.reader.inWork(scope, limit);
  }

  /**
   * Puts dead records back into their topics, where their handler runs for them under their original idempotency key; other
   * durable handlers of the topic pass them by. A dead execution is taken back in the transaction that writes its record
   * to the outbox, oldest first: whenever this stops, calling it again goes on. Only what this application consumes.
   * Parked sequences are tried at once, as by `retryParked`, unless the filter asks for more than group, handler and topic.
   *
   * With `from`, a dead-letter topic is read instead, from its first letter to the last that is there. The ledger remembers
   * what was put back, from wherever: calling it again puts back what is left.
   * @throws InvalidOptionError, LedgerUnreachableError; with `from` TopicMissingError, BrokerUnreachableError, and
   * WrongCallOrderError while no server of the application listens.
   */
  async redrive(filter: RedriveFilter = {}, options: RedriveOptions = {}): Promise<RedriveReport> {
    return this.redriver.redrive(filter, options);
  }

  /**
   * Parked sequences, oldest first: what fails, how often it was tried, when it is tried next, and how many records of its
   * key wait behind it.
   * @throws InvalidOptionError, LedgerUnreachableError
   */
  async parked(query: ParkedQuery = {}): Promise<ParkedHead[]> {
    checkGiven('parked', query);
    const { limit = DEFAULT_LIMIT, after, ...filter } = query;
    return this.core.ledger.parking.list(filter, limit, after);
  }

  /**
   * Has the heads of parked sequences tried at once, held ones too, by whoever has their partition. Resolves with how many
   * there are. Without a filter: all.
   * @throws InvalidOptionError, LedgerUnreachableError
   */
  async retryParked(filter: ParkedFilter = {}): Promise<number> {
    checkGiven('retryParked', filter);
    return this.core.ledger.parking.retry(filter);
  }

  /**
   * Has the head of a parked sequence end as `skipped`, without its handler, by whoever has its partition; the next record
   * of its key goes on.
   * @param id of the sequence, from `parked()`.
   * @param reason for the ledger: a text that is not empty.
   * @returns `false` if there is no such sequence any more.
   * @throws InvalidOptionError, LedgerUnreachableError
   */
  async skipParked(id: string, reason: string): Promise<boolean> {
    checkOrder('skipParked', id, reason);
    return this.core.ledger.parking.order(id, { state: 'skipped', reason }, false);
  }

  /**
   * Has the head of a parked sequence end as `dead`, with its dead letter; with `all`, also what waits behind it now.
   * As `skipParked` otherwise.
   */
  async dropParked(id: string, reason: string, options: DropParkedOptions = {}): Promise<boolean> {
    checkOrder('dropParked', id, reason);
    checkGiven('dropParked', options);
    return this.core.ledger.parking.order(id, { state: 'dead', reason }, options.all ?? false);
  }

  /** What this process did since it started. */
  counters(): DurableCounters {
    return this.core.counters.snapshot();
  }

  /**
   * Runs `work` in a transaction outside any handler, for example in an HTTP controller: what it writes through its
   * argument (or `DurableExecution.client`) and what it emits by `DurableExecution.emit` happens together or not at all.
   * Resolves with what `work` returned once that is committed; records are produced after it, in the order of the calls,
   * by this process, or by a sweep if it dies.
   *
   * @throws what `work` throws, after a rollback; LedgerUnreachableError, CommitUnknownError; WrongCallOrderError inside
   * a durable handler or another `transaction`.
   */
  async transaction<T>(work: (client: TransactionClient) => T | Promise<T>): Promise<T> {
    const current = durableRuns.getStore();
    if (current?.open) throw new WrongCallOrderError(insideMessage(current.kind));
    const { ledger } = this.core;
    await ledger.open();
    const transaction = ledger.transaction();
    const run: TransactionRun = { kind: 'transaction', client: transaction.client, outbox: [], open: true };
    try {
      await transaction.begin();
      const result = await durableRuns.run(run, async () => work(transaction.client as TransactionClient));
      expectNothingNested(run);
      run.open = false;
      const outbox = run.outbox.map((record) => ({ lane: null, record }));
      await transaction.commit({ releases: [], replies: [], outbox });
      this.outlet.dispatch(run.outbox);
      return result;
    } catch (error) {
      if (!run.open || !transaction.broken) throw error;
      throw new LedgerUnreachableError('The connection of the transaction was lost; nothing was stored', {
        cause: error,
      });
    } finally {
      run.open = false;
      await transaction.rollback();
    }
  }
}

function insideMessage(kind: 'handler' | 'transaction'): string {
  return kind === 'handler'
    ? 'DurableLedger.transaction() was called inside a durable handler: use DurableExecution.client and .emit there, or in ' +
        'claim mode durable.transaction(name, fn).'
    : 'DurableLedger.transaction() was called inside another one: use the client that it gave, or a nested transaction ' +
        'of DurablePool.';
}
