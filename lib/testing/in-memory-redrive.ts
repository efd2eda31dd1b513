import { WrongCallOrderError } from '../errors/errors.js';
import type {
  DeadCount,
  DeadExecution,
  DeadFilter,
  FoundLetter,
  LedgerRedrive,
  LetterVerdict,
  RedriveResult,
} from '../execution/ledger-redrive.js';
import type { OutboxRecord } from '../execution/ledger.js';
import type { Clock } from '../runtime/clock.js';
import {
  executionName,
  laneName,
  type InMemoryLedgerStore,
  type StoredDeadLetter,
  type StoredExecution,
} from './in-memory-ledger-store.js';

interface Dead {
  readonly name: string;
  readonly execution: StoredExecution;
  readonly letter: StoredDeadLetter;
}

export class InMemoryRedrive implements LedgerRedrive {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly clock: Clock,
    private readonly reach: () => Promise<void>,
  ) {}

  async count(filter: DeadFilter): Promise<DeadCount[]> {
    await this.reach();
    const counts = new Map<string, DeadCount>();
    for (const { execution, letter } of this.matching(filter)) {
      const kind = {
        ...execution.scope,
        topic: letter.lane.topic,
        reason: letter.reason,
        errorClass: execution.error?.name ?? null,
      };
      const name = JSON.stringify(kind);
      counts.set(name, { ...kind, records: (counts.get(name)?.records ?? 0) + 1 });
    }
    return [...counts.values()].sort((left, right) => right.records - left.records);
  }

  async redrive(
    filter: DeadFilter,
    limit: number,
    after: string | undefined,
    recordOf: (dead: DeadExecution) => OutboxRecord | undefined,
  ): Promise<RedriveResult> {
    if (after !== undefined && !/^\d{17} /.test(after)) {
      throw new WrongCallOrderError('"after" must be the "next" of an earlier call');
    }
    await this.reach();
    const due = this.matching(filter)
      .filter((dead) => this.isCovered(dead) && (after === undefined || place(dead) > after))
      .slice(0, limit);
    const redriven = due.flatMap(({ name, execution, letter }) => {
      const dead = deadExecution(execution, letter);
      const record = recordOf(dead);
      if (!record) return [];
      this.store.executions.delete(name);
      this.store.deadLetters.delete(name);
      this.store.redriven.add(placeName(dead, letter.timestamp));
      this.store.addOutbox(null, record, this.clock.now());
      return [{ dead, record }];
    });
    const last = due.length === limit ? due[due.length - 1] : undefined;
    return { redriven, left: due.length - redriven.length, next: last && place(last) };
  }

  async redriveLetters(letters: readonly FoundLetter[], dryRun: boolean): Promise<LetterVerdict[]> {
    await this.reach();
    const seen = new Set<string>();
    return letters.map((letter) => {
      const place = placeName(letter, letter.timestamp);
      const found = this.judge(letter, place);
      if (found === 'early') return 'early';
      const isOnce = !seen.has(place) && (found !== 'gone' || !this.store.redriven.has(place));
      seen.add(place);
      if (!dryRun) this.store.redriven.add(place);
      if (found === 'done' || !isOnce) return 'done';
      if (!dryRun) {
        if (found !== 'gone') {
          this.store.executions.delete(found.name);
          this.store.deadLetters.delete(found.name);
        }
        this.store.addOutbox(null, letter.record, this.clock.now());
      }
      return 'redriven';
    });
  }

  private judge({ scope, key }: FoundLetter, place: string): Dead | 'gone' | 'done' | 'early' {
    const dead = this.matching(scope).find(
      ({ execution, letter }) => placeName(deadExecution(execution, letter), letter.timestamp) === place,
    );
    if (dead) return this.isCovered(dead) ? dead : 'early';
    const known = key && this.store.executions.get(executionName(scope, key));
    if (!known) return 'gone';
    return known.state === 'claimed' ? 'early' : 'done';
  }

  private matching(filter: DeadFilter): Dead[] {
    const { group, handler, topic, reason, errorClass, keys, since = -Infinity, until = Infinity } = filter;
    const is = <T>(wanted: T | undefined, value: T) => wanted === undefined || wanted === value;
    return [...this.store.executions]
      .flatMap(([name, execution]) => {
        const letter = this.store.deadLetters.get(name);
        return execution.state === 'dead' && letter ? [{ name, execution, letter }] : [];
      })
      .filter(
        ({ execution: { scope, key, error, finishedAt }, letter }) =>
          is(group, scope.group) &&
          is(handler, scope.handler) &&
          is(topic, letter.lane.topic) &&
          is(reason, letter.reason) &&
          is(errorClass, error?.name) &&
          (keys === undefined || keys.some((each) => each.equals(key))) &&
          finishedAt >= since &&
          finishedAt < until,
      )
      .sort((left, right) => (place(left) < place(right) ? -1 : 1));
  }

  private isCovered({ letter }: Dead): boolean {
    return (this.store.fences.get(laneName(letter.lane))?.nextOffset ?? 0n) > letter.offset;
  }
}

/** Where it stands among the dead: by time, then by what makes it unique. */
function place({ name, execution }: Dead): string {
  return `${String(execution.finishedAt).padStart(17, '0')} ${name}`;
}

function deadExecution({ scope, key }: StoredExecution, letter: StoredDeadLetter): DeadExecution {
  const { lane, offset, value, headers } = letter;
  const { topic, topicId, partition } = lane;
  return { scope, key, topic, topicId, partition, offset, recordKey: letter.key, value, headers };
}

function placeName(
  { scope, topic, partition, offset }: Pick<FoundLetter, 'scope' | 'topic' | 'partition' | 'offset'>,
  timestamp: number,
): string {
  return JSON.stringify([scope.group, scope.handler, topic, partition, String(offset), timestamp]);
}
