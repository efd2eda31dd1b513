import { Inject, Injectable } from '@nestjs/common';
import type { DeadCount, DeadFacts, FoundLetter } from '../execution/ledger-redrive.js';
import { readDeadLetter, type DeadLetter } from '../messages/dead-letter-headers.js';
import { keyOfDescription, positionOf } from '../messages/idempotency-key.js';
import type { KafkaRecord } from '../messages/record.js';
import { redriveHeaders, redriveOf } from '../messages/redrive-headers.js';
import { DURABLE_CORE } from './durable-core.js';
import type { DurableCore } from './group-enlistment.js';
import { OutboxOutlet } from './outbox-outlet.js';
import { RedriveRecipients } from './redrive-recipients.js';
import { publishRedriven, type RedriveReport, type RedriveRun } from './redrive-run.js';

/** As of the ledger's dead, with the key as people read it. */
export interface LetterFilter extends DeadFacts {
  readonly key: string | undefined;
}

interface Candidate {
  readonly letter: DeadLetter;
  readonly count: number;
  readonly found: FoundLetter;
}

/**
 * Puts back what the letters of a dead-letter topic hold. The topic is read from its first letter each time: which of them
 * are done with is in the ledger, and not a position, since a filter leaves some behind.
 */
@Injectable()
export class LetterRedriver {
  constructor(
    @Inject(DURABLE_CORE) private readonly core: DurableCore,
    private readonly outlet: OutboxOutlet,
    private readonly recipients: RedriveRecipients,
  ) {}

  /** @throws TopicMissingError, BrokerUnreachableError, LedgerUnreachableError, WrongCallOrderError */
  async redrive(from: string, filter: LetterFilter, run: RedriveRun): Promise<RedriveReport> {
    const histogram = new Histogram();
    for await (const records of this.outlet.readTopic(from, run.signal)) {
      const candidates = records.flatMap((record) => this.candidate(record, filter, run) ?? []);
      while (candidates.length > 0 && !run.isOver) {
        await this.putBack(candidates.splice(0, run.batch), run, histogram);
      }
      if (run.isOver) break;
    }
    return run.report(histogram.counts);
  }

  private candidate(record: KafkaRecord, filter: LetterFilter, run: RedriveRun): Candidate | undefined {
    const letter = readDeadLetter(record);
    if (!letter) return void run.add({ notLetters: 1 });
    if (!fits(letter, filter)) return undefined;
    const { topic, partition, offset, timestamp, key, value } = letter.record;
    const scope = { group: letter.group, handler: letter.handler };
    const handler = this.recipients.of(scope, topic, letter.reason);
    if (handler === undefined) return void run.add({ notConsumed: 1 });
    const count = (redriveOf(letter.record)?.count ?? 0) + 1;
    if (!run.allows(count)) return void run.add({ tooOften: 1 });
    const executionKey =
      letter.key === undefined ? undefined : keyOfDescription(letter.key, letter.record, this.core.keyHeader);
    const known = executionKey && positionOf(executionKey);
    const headers = redriveHeaders(letter.record, {
      group: scope.group,
      handler,
      count,
      offset: known?.offset,
    });
    const back = { id: this.core.clock.uuid(), topic, partition, key, value, headers };
    return {
      letter,
      count,
      found: { scope, key: executionKey, topic, partition, offset, timestamp, record: back },
    };
  }

  private async putBack(
    candidates: readonly Candidate[],
    run: RedriveRun,
    histogram: Histogram,
  ): Promise<void> {
    const { ledger, counters } = this.core;
    const found = candidates.map((candidate) => candidate.found);
    const verdicts = await ledger.redrives.redriveLetters(found, run.isDry);
    const count = (wanted: string) => verdicts.filter((verdict) => verdict === wanted).length;
    const redriven = candidates.filter((_, index) => verdicts[index] === 'redriven');
    run.add({ done: count('done'), early: count('early') });
    if (run.isDry) {
      for (const { letter } of redriven) histogram.add(letter);
      return;
    }
    run.add({ redriven: redriven.length });
    this.outlet.dispatch(redriven.map(({ found: { record } }) => record));
    counters.redriven += redriven.length;
    for (const { found: letter, count: redrives } of redriven)
      publishRedriven(letter.scope, letter, redrives);
    await run.pace(redriven.length);
  }
}

function fits(letter: DeadLetter, filter: LetterFilter): boolean {
  const is = <T>(wanted: T | undefined, value: T) => wanted === undefined || wanted === value;
  return (
    is(filter.group, letter.group) &&
    is(filter.handler, letter.handler) &&
    is(filter.topic, letter.record.topic) &&
    is(filter.reason, letter.reason) &&
    is(filter.errorClass, letter.errorClass) &&
    is(filter.key, letter.key) &&
    letter.diedAt >= (filter.since ?? -Infinity) &&
    letter.diedAt < (filter.until ?? Infinity)
  );
}

class Histogram {
  private readonly kinds = new Map<string, DeadCount>();

  add({ group, handler, record: { topic }, reason, errorClass }: DeadLetter): void {
    const kind = { group, handler, topic, reason, errorClass: errorClass ?? null };
    const name = JSON.stringify(kind);
    this.kinds.set(name, { ...kind, records: (this.kinds.get(name)?.records ?? 0) + 1 });
  }

  get counts(): DeadCount[] {
    return [...this.kinds.values()].sort((left, right) => right.records - left.records);
  }
}
