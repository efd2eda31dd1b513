import { describe, expect, it } from '@jest/globals';
import { invariants, violationsOf } from '../../torture/invariants/check.js';
import type { Effect, Facts, InvariantName } from '../../torture/oracle/facts.js';
import { historyOf } from '../../torture/oracle/history.js';
import { handlers, HOSTILE_HEADER } from '../../torture/work.js';
import { effect, emitted, healthyRun, record, reply, topics } from './healthy-run.js';

type Plant = (facts: Facts) => Partial<Facts>;

/** Without the first item that matches. */
const without = <Item>(items: readonly Item[], matches: (item: Item) => boolean): Item[] => {
  const index = items.findIndex(matches);
  expect(index).not.toBe(-1);
  return items.filter((_, n) => n !== index);
};

const planted: Record<InvariantName, Record<string, Plant>> = {
  I1: {
    'a message whose effect is there twice': ({ effects }) => ({ effects: [...effects, effects[0]!] }),
    'two messages with effects under one key': ({ effects }) => ({
      effects: effects.map((each) => (each.id === 'event-1' ? { ...each, key: 'key-event-0' } : each)),
    }),
    'a completed key without an effect': ({ executions }) => ({
      executions: [...executions, { ...executions[0]!, key: 'another' }],
    }),
    'an effect of an execution that failed': ({ executions }) => ({
      executions: executions.map((row, n) => (n === 0 ? { ...row, state: 'dead' as const } : row)),
    }),
    'an effect of what nobody produced': ({ effects, records }) => ({
      effects: [...effects, effect(record(topics.events, 1, 7, 'stranger'), handlers.event)],
      records,
    }),
  },
  I2: {
    'a lost message': ({ effects }) => ({
      effects: without(effects, ({ id, handler }) => id === 'event-1' && handler === handlers.audit),
    }),
    'a message that was given up on for no reason': ({ deadLetters, effects }) => ({
      deadLetters: [...deadLetters, { ...deadLetters[0]!, offset: 1n }],
      effects: without(effects, ({ id, handler }) => id === 'event-1' && handler === handlers.event),
    }),
    'a message that should have been given up on': ({ deadLetters, effects, records }) => ({
      effects: [...effects, effect(records[2]!, handlers.event)],
      deadLetters: deadLetters.slice(1),
    }),
    'a hostile record that vanished': ({ records }) => ({
      records: [
        ...records,
        record(topics.events, 1, 0, '@events/1/0', {
          work: undefined,
          headers: { [HOSTILE_HEADER]: 'tombstone' },
        }),
      ],
    }),
    'two dead letters of one record': ({ deadLetters }) => ({
      deadLetters: [...deadLetters, ...deadLetters],
    }),
  },
  I3: {
    'a later record before an earlier one': ({ effects }) => ({
      effects: [effects[1]!, effects[0]!, ...effects.slice(2)],
    }),
  },
  I4: {
    'an offset that passes a record which never ended': ({ commits }) => ({
      commits: commits.map((commit) => (commit.offset === 3n ? { ...commit, offset: 4n } : commit)),
      records: [...healthyRun().records, record(topics.events, 0, 3, 'event-3')],
    }),
    'an offset that passes a record before it ended': ({ commits }) => ({
      commits: commits.map((commit) => (commit.offset === 2n ? { ...commit, at: commit.at - 100 } : commit)),
    }),
    'an offset that goes back': ({ commits }) => ({ commits: [...commits, { ...commits[0]!, offset: 1n }] }),
  },
  I5: {
    'a request without a reply': () => ({ replies: [] }),
    'a reply by a run that did not commit': ({ replies: [first] }) => ({
      replies: [{ ...first!, value: '{"id":"request-0","run":"another"}' }],
    }),
    'a request answered in two ways': ({ replies: [first] }) => ({
      replies: [first!, { ...first!, value: `${first!.value} ` }],
    }),
    'a reply to nobody': ({ replies }) => ({
      replies: [
        ...replies,
        reply(record(topics.requests, 0, 9, 'x', { headers: { kafka_correlationId: '?' } })),
      ],
    }),
    'an error for a request that did not fail': ({ replies: [first] }) => ({
      replies: [{ ...first!, headers: { ...first!.headers, 'kafka_nest-err': '"oh"' } }],
    }),
    'a caller that never hears': () => ({ settlements: [] }),
    'a caller that hears twice': ({ settlements: [first] }) => ({ settlements: [first!, first!] }),
    'a caller that is given another run': ({ settlements: [first] }) => ({
      settlements: [{ ...first!, value: { run: 'another' } }],
    }),
    'an error after all was healed': ({ calls: [call], settlements: [first] }) => ({
      calls: [{ ...call!, tail: true }],
      settlements: [{ ...first!, value: undefined, error: 'ReplyTimeoutError' }],
    }),
  },
  I6: {
    'a predecessor that commits after its successor': ({ effects, generations: [first] }) => ({
      generations: [
        first!,
        { generation: 2, at: first!.at + 15, owned: new Map([['b', new Set(['events/0'])]]) },
      ],
      effects: [
        { ...effects[0]!, instance: 'b', committedAt: first!.at + 20 },
        { ...effects[1]!, instance: 'a', committedAt: first!.at + 30 },
        ...effects.slice(2),
      ],
      instances: [],
    }),
    'a claimant that commits after another one had begun': ({ effects: [first, ...rest], log }) => ({
      mode: 'claim',
      effects: [{ ...first!, committedAt: first!.committedAt + 20 }, ...rest],
      log: [
        ...log.map((line) => ({ ...line, what: 'start' as const })),
        { ...log[0]!, what: 'start', run: 'another', instance: 'b', at: log[0]!.at + 10 },
      ],
      instances: [],
    }),
  },
  I7: {
    'a record that was not emitted': ({ out }) => ({ out: out.slice(1) }),
    'a record of a run that did not commit': ({ out }) => ({
      out: [...out, emitted('event-2')],
    }),
    'a record without a message id': ({ out: [first, ...rest] }) => ({
      out: [{ ...first!, headers: {} }, ...rest],
    }),
    'a run that emitted under two message ids': ({ out: [first, ...rest] }) => ({
      out: [first!, { ...first!, headers: { 'message-id': 'another' } }, ...rest],
    }),
    'two runs under one message id': ({ out }) => ({
      out: out.map((each) => ({ ...each, headers: { 'message-id': 'one' } })),
    }),
  },
  I8: {
    'lag that is left': ({ end }) => ({ end: { ...end, lag: 3 } }),
    'a run that is stuck': ({ end }) => ({ end: { ...end, stuck: 'members: none' } }),
    'processes that end by themselves': ({ end }) => ({ end: { ...end, unplannedEnds: 1 } }),
  },
  I9: {
    'too much memory': () => ({ samples: [{ what: 'memory', who: 'a', value: 101 }] }),
    'too many connections': () => ({ samples: [{ what: 'connections', who: 'a', value: 10 }] }),
    'a transaction that stays open': () => ({ samples: [{ what: 'transaction', who: 'a', value: 1_001 }] }),
    'too many handlers at once': () => ({
      log: [1, 2, 3].map((at) => ({
        ...{ at, what: 'start' as const, handler: handlers.event, run: `run-${at}`, id: 'x', key: 'x' },
        ...{ attempt: 1, topic: topics.events, partition: 0, offset: '0', instance: 'a' },
      })),
    }),
  },
  I10: {
    'a counter that misses effects': ({ instances: [a, b] }) => ({
      instances: [{ ...a!, counters: { handled: 4 } }, b!],
    }),
    'a counter that counts too many, in spite of a fault': ({ instances: [a, b] }) => ({
      instances: [{ ...a!, disturbed: true, counters: { handled: 6 } }, b!],
    }),
    'a process that does not answer': ({ instances: [a, b] }) => ({
      instances: [{ ...a!, counters: undefined }, b!],
    }),
    'in claim mode, a counter that misses what nobody else completed': ({ instances: [a, b] }) => ({
      mode: 'claim',
      instances: [{ ...a!, counters: { handled: 4 } }, b!],
    }),
    'in claim mode, a counter of more than its handlers came to the end of': ({ instances: [a, b] }) => ({
      mode: 'claim',
      instances: [a!, { ...b!, counters: { handled: 2 } }],
    }),
  },
};

describe('The invariants', () => {
  it('hold for a run in which all is well', () => {
    expect(violationsOf(healthyRun())).toEqual([]);
  });

  describe.each(Object.keys(planted) as InvariantName[])('%s finds', (name) => {
    it.each(Object.entries(planted[name]))('%s', (_title, plant) => {
      const facts = healthyRun();
      const found = [...invariants[name].check({ ...facts, ...plant(facts) })];
      expect(found.length).toBeGreaterThan(0);
      expect(new Set(found.map(({ invariant }) => invariant))).toEqual(new Set([name]));
    });
  });
});

describe('What is no violation', () => {
  const still = (name: InvariantName, plant: Plant) => {
    const facts = healthyRun();
    return [...invariants[name].check({ ...facts, ...plant(facts) })];
  };

  it('a process that counts less than it did after its connections were cut', () => {
    const found = still('I10', ({ instances: [a, b] }) => ({
      instances: [{ ...a!, disturbed: true, counters: { handled: 4 } }, b!],
    }));
    expect(found).toEqual([]);
  });

  it('in claim mode, a process that completes what another had begun', () => {
    const found = still('I10', ({ log: [first, ...others], instances: [a, b] }) => ({
      mode: 'claim',
      // The effect is of process a, which lost its claim.
      log: [{ ...first!, instance: 'b' }, ...others],
      instances: [
        { ...a!, counters: { handled: 4 } },
        { ...b!, counters: { handled: 2 } },
      ],
    }));
    expect(found).toEqual([]);
  });

  it('an earlier record of another key, where order is by key', () => {
    const found = still('I3', ({ effects, records }) => ({
      ordering: 'key',
      effects: [effects[1]!, effects[0]!, ...effects.slice(2)],
      records: records.map((each, n) => ({ ...each, key: `key-${n}` })),
    }));
    expect(found).toEqual([]);
  });

  it('an earlier record of another key in a topic that is gone, where order is by key', () => {
    const gone = [5, 3].map((offset) =>
      effect(
        record(topics.volatile, 0, offset, `volatile-${offset}`, { key: `key-${offset}` }),
        handlers.volatile,
      ),
    );
    const anew = [3, 5].map((offset) =>
      record(topics.volatile, 0, offset, `anew-${offset}`, { key: 'key-5' }),
    );
    const change =
      (effects: readonly Effect[]): Plant =>
      (facts) => ({
        ordering: 'key',
        lastWave: 2,
        records: [...facts.records, ...anew],
        effects: [...facts.effects, ...effects],
      });
    expect(still('I3', change(gone))).toEqual([]);
    expect(still('I3', change(gone.map((each) => ({ ...each, recordKey: 'key-5' }))))).toHaveLength(1);
  });

  it('a parked record whose key lets others pass, and the offset', () => {
    const change: Plant = ({ effects, records, commits }) => {
      const [sick, next] = [3, 4].map((offset) => {
        const failure = offset === 3 ? ('sick' as const) : undefined;
        return record(topics.events, 0, offset, `event-${offset}`, { key: `key-${offset}`, failure });
      });
      const late = effect(sick!, handlers.event, { committedAt: effects[0]!.committedAt + 5_000 });
      const soon = [
        effect(next!, handlers.event),
        ...[sick!, next!].map((each) => effect(each, handlers.audit)),
      ];
      return {
        parking: true,
        records: [...records, sick!, next!],
        effects: [...effects, ...soon, late],
        commits: [...commits, { ...commits[1]!, offset: 5n }],
      };
    };
    expect([...still('I3', change), ...still('I4', change)]).toEqual([]);
    const unparked: Plant = (facts) => ({ ...change(facts), parking: false });
    expect([still('I3', unparked).length, still('I4', unparked).length]).toEqual([1, 1]);
  });

  it('an owner that is given its partition back', () => {
    const owned = (who: string) => new Map([[who, new Set(['events/0'])]]);
    const found = still('I6', ({ effects, generations: [first] }) => ({
      generations: [
        first!,
        { generation: 2, at: first!.at + 11, owned: owned('b') },
        { generation: 3, at: first!.at + 18, owned: owned('a') },
      ],
      effects: [
        { ...effects[0]!, instance: 'b', committedAt: first!.at + 12 },
        { ...effects[1]!, instance: 'a', committedAt: first!.at + 20 },
      ],
    }));
    expect(found).toEqual([]);
  });

  it('a claimant that commits after its successor in the partition, and before anybody else begins', () => {
    const found = still('I6', ({ effects: [first, second], generations: [generation], log }) => ({
      mode: 'claim',
      generations: [
        generation!,
        { generation: 2, at: generation!.at + 15, owned: new Map([['b', new Set(['events/0'])]]) },
      ],
      effects: [
        { ...first!, instance: 'b', committedAt: generation!.at + 20 },
        { ...second!, instance: 'a', committedAt: generation!.at + 30 },
      ],
      log: [
        ...log.map((line) => ({ ...line, what: 'start' as const })),
        { ...log[1]!, what: 'start', run: 'another', instance: 'b', at: generation!.at + 40 },
      ],
    }));
    expect(found).toEqual([]);
  });

  it('effects of a topic that is gone', () => {
    const gone = effect(record(topics.volatile, 0, 0, 'volatile-0'), handlers.volatile);
    expect(still('I1', ({ effects }) => ({ effects: [...effects, gone] }))).toEqual([]);
  });

  it('an offset that is set back between two memberships', () => {
    const found = still('I4', ({ commits }) => ({
      commits: [...commits, { ...commits[0]!, offset: 0n, generation: 2 }],
    }));
    expect(found).toEqual([]);
  });
});

it("a message's history holds its record, its effects, who owned its partition and what passed it", () => {
  const history = historyOf(healthyRun(), 'event-1').join('\n');
  expect(history).toContain('events[0] offset 1');
  expect(history).toContain(`${handlers.audit} run run-${handlers.audit}-event-1 in a`);
  expect(history).toContain('owner     of events[0] is a from generation 1');
  expect(history).toContain('passed    by offset 2 of events[0] in generation 1');
  expect(history).toContain('message-id message-event-1');
});
