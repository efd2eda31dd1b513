import type { Effect, Evidence, ParkedRecord } from '../../simulate/evidence.js';
import { violationsOf } from '../../simulate/invariants.js';
import type { Behaviour, Mode, PlannedMessage } from '../../simulate/plan.js';

const PLACE = { topic: 'events', partition: 0, offset: 0 } as const;
const GOOD: Behaviour = { kind: 'good' };

function messages(second: Behaviour): Map<number, PlannedMessage> {
  const message: PlannedMessage = {
    n: 0,
    topic: 'events',
    key: 'header',
    records: [{ step: 0, partition: 0, variant: 0 }],
    behaviour: { first: GOOD, second, answer: GOOD },
    work: 0,
    emits: 1,
    recordKey: 'a',
    steps: 0,
    emitsInStep: false,
  };
  return new Map([[0, message]]);
}

function effect(handler: 'first' | 'second', run: number): Effect {
  return { ...PLACE, handler, n: 0, variant: 0, run, emits: 1, emitsInStep: false };
}

/** One event; its second handler wrote in run 2, failed, was parked, and an operator dropped it. */
function droppedAfterAnAttempt(mode: Mode): Evidence {
  const second: ParkedRecord = { ...PLACE, handler: 'second' };
  return {
    asked: { mode, ordering: 'partition', deadLetter: false, parking: undefined },
    repeatedSteps: [],
    records: [{ ...PLACE, n: 0, variant: 0, identity: 'key k-0', correlationId: undefined }],
    effects: [effect('first', 1), effect('second', 2)],
    outputs: [{ handler: 'first', run: 1, index: 0, messageId: 'one' }],
    replies: [],
    dead: [{ handler: 'second', n: 0, variant: 0, offset: 0, partition: 0, reason: 'ordered' }],
    letters: [],
    settlements: [],
    lanes: [],
    parked: [second],
    left: [],
    ordered: [second],
    endings: [
      { ...second, handler: 'first', state: 'completed' },
      { ...second, state: 'dead' },
    ],
    offsetCommits: [],
    fenceMoves: [],
    stuck: [],
  };
}

const invariantsOf = (evidence: Evidence, second: Behaviour = { kind: 'flaky', runs: 1 }) =>
  violationsOf(evidence, messages(second)).map(({ invariant }) => invariant);

describe('the invariants of the simulation', () => {
  it('allow what a failed attempt under a claim has written, where an operator dropped its record', () => {
    expect(invariantsOf(droppedAfterAnAttempt('claim'))).toEqual([]);
  });

  it('forbid it in a transaction, which is rolled back', () => {
    expect(invariantsOf(droppedAfterAnAttempt('transaction'))).toEqual(['I1', 'I7']);
  });

  it('forbid it where the handler fails before it writes', () => {
    expect(invariantsOf(droppedAfterAnAttempt('claim'), { kind: 'poison' })).toEqual(['I1', 'I7']);
  });

  it('forbid it where nobody ordered the record to end', () => {
    const evidence = { ...droppedAfterAnAttempt('claim'), ordered: [], dead: [], parked: [] };
    expect(invariantsOf({ ...evidence, outputs: [] })).toEqual(['I7', 'I7']);
    expect(invariantsOf({ ...evidence, effects: [...evidence.effects, effect('second', 3)] })).toContain(
      'I1',
    );
  });
});
