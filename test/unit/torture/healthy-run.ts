import type { Effect, Facts, TopicRecord } from '../../torture/oracle/facts.js';
import { handlers, type Work } from '../../torture/work.js';

export const topics = { events: 'events', requests: 'requests', out: 'out', volatile: 'volatile' } as const;

const START = 1_000_000;

export function record(
  topic: string,
  partition: number,
  offset: number,
  id: string,
  more: Partial<TopicRecord> & { failure?: Work['failure'] } = {},
): TopicRecord {
  const { failure, ...own } = more;
  const work: Work = { id, key: 'k', seq: offset, millis: 0, failure };
  const value = JSON.stringify(work);
  return { topic, partition, offset: BigInt(offset), key: 'k', value, headers: {}, work, id, ...own };
}

export function effect(of: TopicRecord, handler: Effect['handler'], more: Partial<Effect> = {}): Effect {
  const { topic, partition, offset, id, key: recordKey } = of;
  const run = `run-${handler}-${id}`;
  const key = `key-${id}`;
  const committedAt = START + Number(offset) * 10;
  return {
    ...{ handler, id, run, key, recordKey, instance: 'a', topic, wave: 0, partition, offset, committedAt },
    ...more,
  };
}

export function reply(to: TopicRecord, more: Partial<TopicRecord> = {}): TopicRecord {
  const value = JSON.stringify({ id: to.id, run: `run-${handlers.request}-${to.id}` });
  const headers = { kafka_correlationId: to.headers['kafka_correlationId'] ?? '' };
  return {
    ...{ topic: 'requests.reply', partition: 0, offset: to.offset, key: null, value, headers },
    ...{ work: undefined, id: '' },
    ...more,
  };
}

export function emitted(id: string, more: Partial<TopicRecord> = {}): TopicRecord {
  const value = JSON.stringify({ id, run: `run-${handlers.event}-${id}` });
  const headers = { 'message-id': `message-${id}` };
  return {
    ...{ topic: topics.out, partition: 0, offset: 0n, key: null, value, headers },
    ...{ work: undefined, id: '' },
    ...more,
  };
}

/** Three events, of which the last was given up on, and a request: done by two processes as it should be. */
export function healthyRun(): Facts {
  const events = [0, 1].map((offset) => record(topics.events, 0, offset, `event-${offset}`));
  const doomed = record(topics.events, 0, 2, 'event-2', { failure: 'dead' });
  const request = record(topics.requests, 0, 0, 'request-0', {
    headers: { kafka_correlationId: 'c0', 'idempotency-key': 'key-request-0' },
  });
  const effects = [
    ...events.map((event) => effect(event, handlers.event)),
    ...[...events, doomed].map((event) => effect(event, handlers.audit)),
    effect(request, handlers.request, { instance: 'b' }),
  ];
  const end = START + 1_000;
  return {
    topics,
    mode: 'transaction',
    ordering: 'partition',
    parking: false,
    limits: { connections: 9, running: 2, memory: 100, transaction: 1_000 },
    lastWave: 1,
    records: [...events, doomed, request],
    out: events.map(({ id }) => emitted(id)),
    replies: [reply(request)],
    effects,
    executions: effects.map(({ handler, key, partition, offset, committedAt }) => ({
      ...{ handler, key, partition, offset, attempts: 1 },
      ...{ state: 'completed' as const, finishedAt: committedAt },
    })),
    fences: [handlers.event, handlers.audit].map((handler) => ({
      ...{ handler, topic: topics.events, partition: 0, nextOffset: 3n, epoch: 7n, owner: 'host/1/a' },
      takenAt: START,
    })),
    deadLetters: [
      {
        ...{ handler: handlers.event, reason: 'exhausted', topic: topics.events, partition: 0, offset: 2n },
        ...{ value: doomed.value, diedAt: START + 50 },
      },
    ],
    commits: [
      { topic: topics.events, partition: 0, offset: 2n, generation: 1, at: START + 100 },
      { topic: topics.events, partition: 0, offset: 3n, generation: 1, at: end },
      { topic: topics.requests, partition: 0, offset: 1n, generation: 1, at: end },
    ],
    generations: [
      {
        generation: 1,
        at: START - 10,
        owned: new Map([
          ['a', new Set(['events/0'])],
          ['b', new Set(['requests/0'])],
        ]),
      },
    ],
    log: effects.map(({ handler, run, id, key, instance, topic, partition, offset, committedAt }) => ({
      ...{ what: 'end' as const, at: committedAt - 1, attempt: 1, offset: String(offset) },
      ...{ handler, run, id, key, instance, topic, partition },
    })),
    calls: [{ instance: 'b', id: 'request-0', tail: false }],
    settlements: [
      {
        ...{ instance: 'b', id: 'request-0' },
        value: { id: 'request-0', run: `run-${handlers.request}-request-0` },
      },
    ],
    samples: [],
    instances: [
      { name: 'a', running: true, disturbed: false, counters: { handled: 5 } },
      { name: 'b', running: true, disturbed: false, counters: { handled: 1 } },
    ],
    end: { lag: 0, stuck: undefined, unplannedEnds: 0 },
  };
}
