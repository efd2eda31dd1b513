import { decide, type Decision, type FailureFacts } from '../../../lib/consumption/decision.js';

const facts: FailureFacts = {
  failureClass: 'retryable',
  kind: 'event',
  failures: 1,
  attempts: 3,
  overdue: false,
  onExhausted: undefined,
  filtered: undefined,
  isLetter: false,
  canBeParked: false,
  hasPlaceForDead: true,
};

type Row = [what: string, Partial<FailureFacts>, Decision];

const rows: Row[] = [
  ['an event with attempts left', { failures: 1 }, 'retry'],
  ['an event before its last attempt', { failures: 2 }, 'retry'],
  ['an event after its last attempt', { failures: 3 }, 'dead-letter'],
  [
    'an event after its last attempt, with nowhere to put it',
    { failures: 3, hasPlaceForDead: false },
    'block',
  ],
  ['an exhausted event under "block"', { failures: 3, onExhausted: 'block' }, 'block'],
  ['an exhausted event under "dead-letter"', { failures: 3, onExhausted: 'dead-letter' }, 'dead-letter'],
  [
    'an exhausted event under "dead-letter", with nowhere to put it',
    { failures: 3, onExhausted: 'dead-letter', hasPlaceForDead: false },
    'block',
  ],
  [
    'an event that failed more often than it may, as under "block"',
    { failures: 30, onExhausted: 'block' },
    'block',
  ],
  ['an event with one attempt in all', { failures: 1, attempts: 1 }, 'dead-letter'],
  ['an event past its deadline, with attempts left', { overdue: true }, 'dead-letter'],
  ['an event past its deadline, with nowhere to put it', { overdue: true, hasPlaceForDead: false }, 'block'],
  ['an event past its deadline that a filter wants retried', { overdue: true, filtered: 'retry' }, 'retry'],
  [
    'a request that says it is retriable, past its deadline',
    { kind: 'request', failureClass: 'retriable-request', overdue: true },
    'answer',
  ],
  [
    'an event past its deadline while infrastructure is down',
    { failureClass: 'infrastructure', overdue: true },
    'hold',
  ],
  ['a terminal event', { failureClass: 'terminal' }, 'dead-letter'],
  ['a terminal event under "block"', { failureClass: 'terminal', onExhausted: 'block' }, 'dead-letter'],
  ['a terminal event with nowhere to put it', { failureClass: 'terminal', hasPlaceForDead: false }, 'skip'],
  ['an event that says it is retriable', { failureClass: 'retriable-request' }, 'retry'],
  ['an event that says so once too often', { failureClass: 'retriable-request', failures: 3 }, 'dead-letter'],
  ['a request', { kind: 'request' }, 'answer'],
  ['a terminal request', { kind: 'request', failureClass: 'terminal' }, 'answer'],
  ['a request under "block"', { kind: 'request', onExhausted: 'block' }, 'answer'],
  ['a request that says it is retriable', { kind: 'request', failureClass: 'retriable-request' }, 'retry'],
  [
    'a request that says so once too often',
    { kind: 'request', failureClass: 'retriable-request', failures: 3 },
    'answer',
  ],
  ['an exhausted event under "park"', { failures: 3, onExhausted: 'park', canBeParked: true }, 'park'],
  ['an event under "park" with attempts left', { onExhausted: 'park', canBeParked: true }, 'retry'],
  [
    'an event past its deadline under "park"',
    { overdue: true, onExhausted: 'park', canBeParked: true },
    'park',
  ],
  [
    'an exhausted event under "park" with nowhere to park it',
    { failures: 3, onExhausted: 'park' },
    'dead-letter',
  ],
  [
    'a terminal event under "park"',
    { failureClass: 'terminal', onExhausted: 'park', canBeParked: true },
    'dead-letter',
  ],
  ['a request under "park"', { kind: 'request', onExhausted: 'park', canBeParked: true }, 'answer'],
  ['a parked event that fails again', { isLetter: true, failures: 4 }, 'postpone'],
  [
    'a parked event, whatever follows the last attempt now',
    { isLetter: true, onExhausted: 'block' },
    'postpone',
  ],
  ['a parked event that a filter wants retried', { isLetter: true, filtered: 'retry' }, 'postpone'],
  ['a parked event that fails terminally', { isLetter: true, failureClass: 'terminal' }, 'dead-letter'],
  ['a parked event while infrastructure is down', { isLetter: true, failureClass: 'infrastructure' }, 'hold'],
  ['an event with no room to be parked', { failureClass: 'crowded', failures: 99 }, 'hold'],
  ['an exhausted event that a filter wants retried', { failures: 30, filtered: 'retry' }, 'retry'],
  ['a terminal event that a filter wants retried', { failureClass: 'terminal', filtered: 'retry' }, 'retry'],
  [
    'a retriable request that a filter wants answered',
    { kind: 'request', failureClass: 'retriable-request', filtered: 'answer' },
    'answer',
  ],
  ['an event whose transaction deadlocked', { failureClass: 'contention', failures: 99 }, 'hold'],
  ['an event while infrastructure is down', { failureClass: 'infrastructure', failures: 99 }, 'hold'],
  ['a request while infrastructure is down', { failureClass: 'infrastructure', kind: 'request' }, 'hold'],
  ['an event of a fenced owner', { failureClass: 'fenced', failures: 99 }, 'refence'],
  ['a request of a fenced owner', { failureClass: 'fenced', kind: 'request' }, 'refence'],
];

it.each(rows)('%s', (_what, given, decision) => {
  expect(decide({ ...facts, ...given })).toBe(decision);
});
