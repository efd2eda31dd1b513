import type { DeadLetter, Effect, Facts, TopicRecord } from '../oracle/facts.js';
import { type HandlerName, HOSTILE_HEADER, handlersOf } from '../work.js';

/** Values by a key that many of them may share. */
export function grouped<Item>(items: Iterable<Item>, keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

export const lane = ({ topic, partition }: { topic: string; partition: number }): string =>
  `${topic}/${partition}`;

export const place = (at: { topic: string; partition: number; offset: bigint }): string =>
  `${lane(at)}/${at.offset}`;

export const isHostile = ({ headers }: TopicRecord): boolean => headers[HOSTILE_HEADER] !== undefined;

export const correlationOf = ({ headers }: TopicRecord): string => headers['kafka_correlationId'] ?? '';

/** Whether the topic that the record was in has been deleted since: what the topic holds at its place now is another one. */
export const isGone = ({ topic, wave }: Effect, { topics, lastWave }: Facts): boolean =>
  topic === topics.volatile && wave < lastWave;

/**
 * Keys of partitions, of which the first handler may have parked records: they let others of their partition pass, and the
 * offset of the group.
 */
export function parkedKeys({ parking, records, topics }: Facts): ReadonlySet<string> {
  const sick = records.filter(({ topic, work }) => topic === topics.events && work?.failure === 'sick');
  return new Set(parking ? sick.map(keyLane) : []);
}

export const keyLane = (record: { topic: string; partition: number; key: string | null }): string =>
  `${lane(record)} key ${record.key ?? ''}`;

/** A record and a handler that it is for. */
export interface Assignment {
  readonly record: TopicRecord;
  readonly handler: HandlerName;
}

export function* assignments({ records, topics }: Facts): Generator<Assignment> {
  for (const record of records) {
    for (const handler of handlersOf(record.topic, topics)) yield { record, handler };
  }
}

/** Which effect and which dead letter belongs to a message. */
export class Outcomes {
  private readonly effects: Map<string, Effect[]>;
  private readonly dead: Map<string, DeadLetter[]>;
  private readonly deadIds: Map<string, DeadLetter[]>;

  constructor(facts: Facts) {
    this.effects = grouped(facts.effects, ({ handler, id }) => `${handler} ${id}`);
    this.dead = grouped(facts.deadLetters, (letter) => `${letter.handler} ${place(letter)}`);
    const idAt = new Map(facts.records.map((record) => [place(record), record.id]));
    this.deadIds = grouped(
      facts.deadLetters.filter((letter) => idAt.has(place(letter))),
      (letter) => `${letter.handler} ${idAt.get(place(letter))!}`,
    );
  }

  effectsOf(handler: string, id: string): readonly Effect[] {
    return this.effects.get(`${handler} ${id}`) ?? [];
  }

  /** Of the message, at whatever place it was given up on. */
  deathsOf(handler: string, id: string): readonly DeadLetter[] {
    return this.deadIds.get(`${handler} ${id}`) ?? [];
  }

  deathsAt(handler: string, record: TopicRecord): readonly DeadLetter[] {
    return this.dead.get(`${handler} ${place(record)}`) ?? [];
  }
}
