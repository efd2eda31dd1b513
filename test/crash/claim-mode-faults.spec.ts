import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { databaseFaults, type DatabaseFault } from './support/database-faults.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';

const faults: readonly DatabaseFault[] = [
  'crashed and restarted at once, again and again',
  'connections ended in mid-transaction',
  'no more connections for the role',
  'read-only for a while',
  'a lock_timeout, and a table of the handlers locked',
  'a statement_timeout, and a table of the ledger locked',
  'a storm of serialization failures and deadlocks raised inside handlers',
  'two handlers that deadlock',
];

describe('Trouble with Postgres, in claim mode: nothing lost, nothing dead, no attempt counted', () => {
  let setting: Setting;
  const scenarios = new Scenarios<DatabaseFault>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const fault of faults)
      scenarios.start(fault, () => databaseFaults[fault](setting, { mode: 'claim', withoutCalls: true }));
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(faults)('%s', (fault) => scenarios.result(fault));
});
