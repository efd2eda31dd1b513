import { WrongCallOrderError } from '../errors/errors.js';
import type {
  DeadCount,
  DeadExecution,
  DeadFilter,
  LedgerRedrive,
  RedriveResult,
} from '../execution/ledger-redrive.js';
import type { OutboxRecord } from '../execution/ledger.js';
import type { Clock } from '../runtime/clock.js';
import {
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
      this.store.addOutbox(null, record, this.clock.now());
      return [{ dead, record }];
    });
    const last = due.length === limit ? due[due.length - 1] : undefined;
    return { redriven, left: due.length - redriven.length, next: last && place(last) };
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
