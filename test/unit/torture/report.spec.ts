import { violationsOf } from '../../torture/invariants/check.js';
import type { Facts } from '../../torture/oracle/facts.js';
import { details, jsonLine, whereToLook } from '../../torture/report.js';
import type { Result } from '../../torture/run.js';
import { runsUnderWay } from '../../torture/stuck.js';
import { parseOptions, type Options } from '../../torture/options.js';
import { handlers } from '../../torture/work.js';
import { effect, healthyRun } from './healthy-run.js';

const command = parseOptions(['--seed', '7', '--messages', '500', '--instances', '2'], () => 0);
const options = (command as { options: Options }).options;

function resultOf(change: (facts: Facts) => Partial<Facts>): Result {
  const healthy = healthyRun();
  const facts = { ...healthy, ...change(healthy) };
  return {
    facts,
    violations: violationsOf(facts),
    ...{ faults: { sigkill: 2 }, produced: 4, duplicates: 0 },
    places: { group: 'torture-1', database: 'crash_1' },
    dispose: () => Promise.resolve(),
  };
}

/** The second event has another effect, by a run of its own. */
const twice = ({ records, effects }: Facts): Partial<Facts> => ({
  effects: [...effects, effect(records[1]!, handlers.event, { run: 'run-again', instance: 'b' })],
});

describe('the report of a violation', () => {
  const lines = details(resultOf(twice), options).split('\n');

  it('begins with seed, invariant, message and what is wrong with it', () => {
    expect(lines[0]).toBe(`VIOLATION of I1, seed 7: event-1 2 effects in ${handlers.event}`);
  });

  it.each([
    ['where the message lies', 'record    events[0] offset 1'],
    ['its runs', `end       ${handlers.event} run run-${handlers.event}-event-1 in a`],
    ['its effects', `effect    ${handlers.event} run run-again in b`],
    ['how it ended by the ledger', `ledger    ${handlers.event} completed after 1 attempts`],
    ['the epoch of its lane', `fence     ${handlers.event} in events[0] taken for the last time, epoch 7`],
    ['who owned its partition', 'owner     of events[0] is a from generation 1'],
    ['the commit that passed it', 'passed    by offset 2 of events[0] in generation 1'],
    ['what came of it', 'produced  out[0] offset 0'],
  ])('tells %s', (_what, text) => {
    expect(lines.filter((line) => line.includes(text))).not.toEqual([]);
  });

  it('tells a message once that violates several invariants', () => {
    const { effects } = healthyRun();
    const facts = resultOf(() => ({ effects: [...effects, ...effects] })).facts;
    const violations = violationsOf(facts).filter(({ id }) => id === 'event-0');
    expect(new Set(violations.map(({ invariant }) => invariant)).size).toBeGreaterThan(1);
    const told = details({ facts, violations }, options);
    expect(told.split('VIOLATION of')).toHaveLength(violations.length + 1);
    expect(told.split('record    events[0] offset 0')).toHaveLength(2);
  });

  it('counts what it does not tell', () => {
    const { records } = healthyRun();
    const violations = Array.from({ length: 9 }, (_, n) => ({
      ...{ invariant: 'I2' as const, id: `event-${n}`, what: 'lost' },
    }));
    const told = details({ facts: { ...healthyRun(), records }, violations }, options);
    expect(told.split('VIOLATION of I2')).toHaveLength(6);
    expect(told).toContain('and 4 more that violate I2');
  });
});

describe('the report of a stuck run', () => {
  const stuck = resultOf(() => ({
    end: { lag: 3, stuck: 'partitions with a lag:\n  events[0]', unplannedEnds: 0 },
  }));

  it('begins with what was to be seen', () => {
    const told = details(stuck, options);
    expect(told).toMatch(/^STUCK, seed 7: [^]*partitions with a lag:\n {2}events\[0\]/);
    expect(told).toContain('VIOLATION of I8, seed 7: stuck with a lag of 3\n'.trimEnd());
  });

  it('has one sentence of that in its line of JSON', () => {
    expect(JSON.parse(jsonLine(stuck, options, 12.34))).toEqual({
      ...{ seed: 7, messages: 500, instances: 2, faults: { sigkill: 2 }, seconds: 12.3 },
      violations: [{ invariant: 'I8', what: 'stuck with a lag of 3' }],
      invariants: expect.objectContaining({ I1: 'ok', I8: 'violated', I10: 'ok' }) as object,
    });
  });

  it('names the handlers that have not come back, and none of a process that is gone', () => {
    const place = { topic: 'events', partition: 0, handler: handlers.event, key: 'k', attempt: 2 };
    const line = (what: 'start' | 'end' | 'fail', run: string, instance: string, at: number) => ({
      ...{ ...place, what, run, instance, at, id: `event-${run}`, offset: '4' },
    });
    const log = [
      ...[line('start', 'ended', 'a', 1_000), line('end', 'ended', 'a', 1_100)],
      ...[line('start', 'failed', 'a', 1_000), line('fail', 'failed', 'a', 1_100)],
      ...[line('start', 'young', 'b', 2_000), line('start', 'old', 'a', 1_500)],
      line('start', 'killed', 'gone', 1_000),
    ];
    expect(runsUnderWay(log, ['a', 'b'], 11_500)).toEqual([
      `a for 10.0 s: ${handlers.event}, attempt 2 of event-old, events[0] offset 4, run old`,
      `b for 9.5 s: ${handlers.event}, attempt 2 of event-young, events[0] offset 4, run young`,
    ]);
  });
});

it('says what is kept, and how to have it again', () => {
  const told = whereToLook(resultOf(twice), options, '/tmp/kept');
  for (const part of ['/tmp/kept', 'report.txt', '"torture-1.*"', '"crash_1"', '--seed 7']) {
    expect(told).toContain(part);
  }
});
