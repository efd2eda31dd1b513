import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { InvalidOptionError } from '../errors/errors.js';
import type { DeadCount, DeadExecution, DeadFilter } from '../execution/ledger-redrive.js';
import type { OutboxRecord } from '../execution/ledger.js';
import { encodedForms, positionOf } from '../messages/idempotency-key.js';
import { redriveHeaders, redriveOf } from '../messages/redrive-headers.js';
import { sleep } from '../runtime/clock.js';
import { operatorEvents } from '../runtime/operator-events.js';
import { numberAtLeast, onlyKnown, wholeNumber } from '../transport/option-checks.js';
import { DURABLE_CORE } from './durable-core.js';
import { DURABLE_OPTIONS, type DurableModuleOptions } from './durable.options.js';
import type { DurableCore } from './group-enlistment.js';
import { durableNames } from './handler-names.js';
import { OutboxOutlet } from './outbox-outlet.js';

/** Which dead records to put back; what is absent says nothing. Times are milliseconds since the epoch. */
export interface RedriveFilter {
  /** Consumer group, with Nest's postfix: `billing-server`. */
  readonly group?: string | undefined;
  readonly handler?: string | undefined;
  readonly topic?: string | undefined;
  /** As in the dead letter's `dlt-reason`. */
  readonly reason?: string | undefined;
  /** Class of the error that the last attempt ended in. */
  readonly errorClass?: string | undefined;
  /** The idempotency key as it was given; a position reads `topicId/partition/offset`. */
  readonly key?: string | undefined;
  /** Died at or after. */
  readonly since?: number | undefined;
  /** Died before. */
  readonly until?: number | undefined;
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
  /** Left because they were put back `maxRedrives` times already. */
  readonly tooOften: number;
  /** Left because no durable handler of that name consumes their topic in that group in this application. */
  readonly notConsumed: number;
  /** What fits the filter, by kind, most frequent first; of a dry run. */
  readonly histogram: readonly DeadCount[];
}

const FILTERS = ['group', 'handler', 'topic', 'reason', 'errorClass', 'key', 'since', 'until'];
const OPTIONS = ['dryRun', 'limit', 'rate', 'maxRedrives', 'signal'];
const MAX_BATCH = 100;
/** With a rate, batches begin this often per second. */
const BATCHES_PER_SECOND = 5;

/** Puts dead records back into their topics, under their original idempotency keys. */
@Injectable()
export class Redriver {
  constructor(
    @Inject(DURABLE_CORE) private readonly core: DurableCore,
    @Inject(DURABLE_OPTIONS) private readonly options: DurableModuleOptions,
    private readonly outlet: OutboxOutlet,
    private readonly modules: ModulesContainer,
  ) {}

  async redrive(filter: RedriveFilter, options: RedriveOptions): Promise<RedriveReport> {
    onlyKnown('redrive filter', filter, FILTERS);
    onlyKnown('redrive', options, OPTIONS);
    const limit = options.limit === undefined ? Infinity : wholeNumber('redrive.limit', options.limit, 1);
    const rate = options.rate === undefined ? Infinity : numberAtLeast('redrive.rate', options.rate, 0.001);
    const maxRedrives = wholeNumber('redrive.maxRedrives', options.maxRedrives ?? 3, 1);
    const { key, ...rest } = filter;
    const dead: DeadFilter = { ...rest, keys: key === undefined ? undefined : keyForms(key) };
    const { ledger } = this.core;
    await ledger.open();
    if (options.dryRun) {
      return { redriven: 0, tooOften: 0, notConsumed: 0, histogram: await ledger.redrives.count(dead) };
    }
    return this.putBack(dead, limit, rate, maxRedrives, options.signal);
  }

  private async putBack(
    filter: DeadFilter,
    limit: number,
    rate: number,
    maxRedrives: number,
    signal: AbortSignal | undefined,
  ): Promise<RedriveReport> {
    const { ledger, clock, counters } = this.core;
    const names = durableNames(this.modules, this.options.global ?? true);
    const report = { redriven: 0, tooOften: 0, notConsumed: 0 };
    const batch = Math.max(1, Math.min(MAX_BATCH, Math.ceil(rate / BATCHES_PER_SECOND)));
    let after: string | undefined;
    do {
      const left = { tooOften: 0, notConsumed: 0 };
      const recordOf = (dead: DeadExecution): OutboxRecord | undefined => {
        const { group, handler } = dead.scope;
        if (!names.has(handler) || !this.outlet.consumes(group, dead.topic)) return void left.notConsumed++;
        const count = (redriveOf(dead)?.count ?? 0) + 1;
        if (count > maxRedrives) return void left.tooOften++;
        return outboxRecord(clock.uuid(), dead, count);
      };
      const most = Math.min(batch, limit - report.redriven);
      const { redriven, next } = await ledger.redrives.redrive(filter, most, after, recordOf);
      this.outlet.dispatch(redriven.map(({ record }) => record));
      counters.redriven += redriven.length;
      for (const { dead, record } of redriven) publish(dead, record);
      report.redriven += redriven.length;
      report.tooOften += left.tooOften;
      report.notConsumed += left.notConsumed;
      after = next;
      if (after !== undefined && redriven.length > 0 && rate < Infinity) {
        await sleep(clock, (redriven.length / rate) * 1000, signal);
      }
    } while (after !== undefined && report.redriven < limit && !signal?.aborted);
    return { ...report, histogram: [] };
  }
}

/** The record as it was, into the partition where it was: there its position is known to its handler. */
function outboxRecord(id: string, dead: DeadExecution, count: number): OutboxRecord {
  const { topic, partition, recordKey, value, scope, key } = dead;
  const position = positionOf(key);
  const headers = redriveHeaders(dead, { ...scope, count, offset: position?.offset });
  return { id, topic, partition, key: recordKey, value, headers };
}

function publish({ scope, topic, partition, offset }: DeadExecution, { headers }: OutboxRecord): void {
  const { redriven } = operatorEvents;
  if (!redriven.hasSubscribers) return;
  redriven.publish({
    ...scope,
    topic,
    partition,
    offset,
    redrives: redriveOf({ topic, headers })?.count ?? 0,
  });
}

function keyForms(key: unknown): Buffer[] {
  if (typeof key === 'string' && key !== '') return encodedForms(key);
  throw new InvalidOptionError('redrive filter.key', 'must be a text that is not empty');
}
