import { InvalidOptionError } from '../errors/errors.js';
import type { ExecutionState } from '../execution/ledger-terms.js';
import { isTopicName } from '../messages/topic-name.js';
import {
  callable,
  flag,
  numberAtLeast,
  object,
  oneOf,
  onlyKnown,
  refuse,
  text,
  wholeNumber,
  type Check,
} from '../transport/option-checks.js';

const STATES: readonly ExecutionState[] = ['completed', 'failed', 'dead', 'skipped', 'claimed'];
const MAX_LIMIT = 1_000;

const time: Check = (option, value) =>
  (typeof value === 'number' && Number.isSafeInteger(Math.ceil(value))) ||
  refuse(option, value, 'a time in milliseconds since the epoch');
const sequence: Check = (option, value) => {
  if (typeof value === 'string' && /^\d{1,18}$/.test(value)) return;
  throw new InvalidOptionError(
    option,
    'must be the id of a parked sequence, as DurableLedger.parked() tells it',
  );
};
const page: Check = (option, value) => wholeNumber(option, value, 1, MAX_LIMIT);

const SCOPE = { group: text, handler: text };
const SPAN = { since: time, until: time };

/** What the methods of `DurableLedger` may be given. */
const SHAPES = {
  find: SCOPE,
  counts: SCOPE,
  inWork: { ...SCOPE, limit: page },
  list: {
    ...SCOPE,
    ...SPAN,
    state: (option, value) => oneOf(option, value, STATES),
    limit: page,
    after: text,
  },
  retryParked: { ...SCOPE, topic: text, id: sequence },
  parked: { ...SCOPE, topic: text, id: sequence, limit: page, after: sequence },
  dropParked: { all: flag },
  redrive: {
    ...SCOPE,
    ...SPAN,
    from: (option, value) => isTopicName(value) || refuse(option, value, 'the name of a dead-letter topic'),
    topic: text,
    reason: text,
    errorClass: text,
    key: text,
  },
  'redrive.options': {
    dryRun: flag,
    limit: (option, value) => wholeNumber(option, value, 1),
    rate: (option, value) => numberAtLeast(option, value, 0.001),
    maxRedrives: (option, value) => wholeNumber(option, value, 1),
    signal: (option, value) => {
      object(option, value);
      callable(`${option}.addEventListener`, (value as { addEventListener?: unknown }).addEventListener);
    },
  },
} satisfies Record<string, Record<string, Check>>;

/**
 * Refuses what would be without effect, or would have another one than was meant: filters come from query strings as often
 * as from code, and one that says less than it should puts back or drops what nobody asked for. `undefined` says nothing,
 * `null` is refused.
 * @throws InvalidOptionError
 */
export function checkGiven(method: keyof typeof SHAPES, given: object): void {
  const shape: Readonly<Record<string, Check>> = SHAPES[method];
  const name = `DurableLedger.${method}`;
  object(name, given);
  onlyKnown(name, given, Object.keys(shape));
  for (const [field, value] of Object.entries(given)) {
    if (value !== undefined) shape[field]!(`${name}.${field}`, value);
  }
}

/** @throws InvalidOptionError */
export function checkOrder(method: 'skipParked' | 'dropParked', id: string, reason: string): void {
  sequence(`DurableLedger.${method}.id`, id);
  text(`DurableLedger.${method}.reason`, reason);
}
