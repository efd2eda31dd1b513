import { Inject, Injectable } from '@nestjs/common';
import type { ParkedHead } from '../execution/ledger-parking.js';
import type { DeadExecution, DeadFilter } from '../execution/ledger-redrive.js';
import type { OutboxRecord } from '../execution/ledger.js';
import { encodedForms, positionOf } from '../messages/idempotency-key.js';
import { redriveHeaders, redriveOf } from '../messages/redrive-headers.js';
import { DURABLE_CORE } from './durable-core.js';
import type { DurableCore } from './group-enlistment.js';
import { checkGiven } from './ledger-filters.js';
import { LetterRedriver } from './letter-redriver.js';
import { OutboxOutlet } from './outbox-outlet.js';
import { RedriveRecipients } from './redrive-recipients.js';
import {
  publishRedriven,
  RedriveRun,
  type RedriveFilter,
  type RedriveOptions,
  type RedriveReport,
} from './redrive-run.js';

const PAGE = 1_000;

/** Puts dead records back into their topics, under their original idempotency keys. */
@Injectable()
export class Redriver {
  constructor(
    @Inject(DURABLE_CORE) private readonly core: DurableCore,
    private readonly outlet: OutboxOutlet,
    private readonly recipients: RedriveRecipients,
    private readonly letters: LetterRedriver,
  ) {}

  async redrive(filter: RedriveFilter, options: RedriveOptions): Promise<RedriveReport> {
    checkGiven('redrive', filter);
    const { ledger, clock } = this.core;
    const run = new RedriveRun(options, clock);
    const { from, key, ...facts } = filter;
    const keys = key === undefined ? undefined : encodedForms(key);
    await ledger.open();
    if (from !== undefined) return this.letters.redrive(from, { ...facts, key }, run);
    run.add({ parked: await this.retryParked(filter, run.isDry) });
    if (run.isDry) return run.report(await ledger.redrives.count({ ...facts, keys }));
    return this.putBack({ ...facts, keys }, run);
  }

  /** Parked records are not dead: a filter that asks how or when something died is not about them. */
  private async retryParked(filter: RedriveFilter, isDry: boolean): Promise<number> {
    const { parking } = this.core.ledger;
    const { group, handler, topic, ...others } = filter;
    if (Object.values(others).some((value) => value !== undefined)) return 0;
    if (!isDry) return parking.retry({ group, handler, topic });
    let sequences = 0;
    let page: readonly ParkedHead[] = [];
    do {
      page = await parking.list({ group, handler, topic }, PAGE, page.at(-1)?.id);
      sequences += page.length;
    } while (page.length === PAGE);
    return sequences;
  }

  private async putBack(filter: DeadFilter, run: RedriveRun): Promise<RedriveReport> {
    const { ledger, clock, counters } = this.core;
    let after: string | undefined;
    do {
      const left = { tooOften: 0, notConsumed: 0 };
      const recordOf = (dead: DeadExecution): OutboxRecord | undefined => {
        if (!this.recipients.includes(dead.scope, dead.topic)) return void left.notConsumed++;
        const count = (redriveOf(dead)?.count ?? 0) + 1;
        if (!run.allows(count)) return void left.tooOften++;
        return outboxRecord(clock.uuid(), dead, count);
      };
      const { redriven, next } = await ledger.redrives.redrive(filter, run.batch, after, recordOf);
      this.outlet.dispatch(redriven.map(({ record }) => record));
      counters.redriven += redriven.length;
      for (const { dead, record } of redriven) {
        publishRedriven(
          dead.scope,
          dead,
          redriveOf({ topic: dead.topic, headers: record.headers })?.count ?? 0,
        );
      }
      run.add({ redriven: redriven.length, ...left });
      after = next;
      if (after !== undefined) await run.pace(redriven.length);
    } while (after !== undefined && !run.isOver);
    return run.report();
  }
}

/** The record as it was, into the partition where it was: there its position is known to its handler. */
function outboxRecord(id: string, dead: DeadExecution, count: number): OutboxRecord {
  const { topic, partition, recordKey, value, scope, key } = dead;
  const position = positionOf(key);
  const headers = redriveHeaders(dead, { ...scope, count, offset: position?.offset });
  return { id, topic, partition, key: recordKey, value, headers };
}
