import { InvalidOptionError } from '../../../lib/errors/errors.js';
import { checkGiven, checkOrder } from '../../../lib/durable/ledger-filters.js';

type Method = Parameters<typeof checkGiven>[0];

/** Every field, with a value that works. */
const WORKING: Readonly<Record<Method, Readonly<Record<string, unknown>>>> = {
  find: { group: 'g-server', handler: 'H.on' },
  counts: { group: 'g-server', handler: 'H.on' },
  inWork: { group: 'g-server', handler: 'H.on', limit: 1_000 },
  list: { group: 'g', handler: 'H.on', since: 0, until: 1e12 + 0.5, state: 'dead', limit: 1, after: 'abc' },
  retryParked: { group: 'g', handler: 'H.on', topic: 't', id: '17' },
  parked: { group: 'g', handler: 'H.on', topic: 't', id: '17', limit: 1, after: '16' },
  dropParked: { all: true },
  redrive: {
    group: 'g',
    handler: 'H.on',
    topic: 't',
    reason: 'exhausted',
    errorClass: 'TypeError',
    key: 'k',
    since: -1,
    until: 1e12,
    from: 't.dlt',
  },
  'redrive.options': {
    dryRun: true,
    limit: 1,
    rate: 0.5,
    maxRedrives: 1,
    signal: new AbortController().signal,
  },
};

const fields = Object.entries(WORKING).flatMap(([method, given]) =>
  Object.keys(given).map((field) => [method as Method, field] as const),
);

describe('What methods of DurableLedger are given', () => {
  it.each(fields)('%s: %s is taken, and refused by its name where it says nothing', (method, field) => {
    expect(() => checkGiven(method, { [field]: WORKING[method][field] })).not.toThrow();
    expect(() => checkGiven(method, { [field]: undefined })).not.toThrow();
    // A `null` comes of a query that lacks the field: it must not stand for all there is.
    for (const garbage of [null, '', NaN, -0.5, Infinity, [], new Date()]) {
      if (field === 'rate' && garbage === Infinity) continue;
      if ((field === 'since' || field === 'until') && garbage === -0.5) continue;
      expect(() => checkGiven(method, { [field]: garbage })).toThrow(InvalidOptionError);
      expect(() => checkGiven(method, { [field]: garbage })).toThrow(`"DurableLedger.${method}.${field}`);
    }
  });

  it('may not be misspelt, nor be no object', () => {
    for (const method of Object.keys(WORKING) as Method[]) {
      expect(() => checkGiven(method, { hanlder: 'H.on' })).toThrow('hanlder" is not an option');
      expect(() => checkGiven(method, null as never)).toThrow(`"DurableLedger.${method}" is null`);
    }
  });

  it('names a sequence and a reason, for an order about a parked record', () => {
    expect(() => checkOrder('skipParked', '17', 'by hand')).not.toThrow();
    expect(() => checkOrder('skipParked', "1'; drop", 'by hand')).toThrow(
      '"DurableLedger.skipParked.id" must be the id of a parked sequence',
    );
    for (const reason of [undefined, null, '', 5]) {
      expect(() => checkOrder('dropParked', '17', reason as never)).toThrow(
        '"DurableLedger.dropParked.reason"',
      );
    }
  });
});
