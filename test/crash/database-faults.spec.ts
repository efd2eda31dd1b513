import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { databaseFaults, type DatabaseFault } from './support/database-faults.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';

/** But one, which takes its time: `integration/durable/outage.spec.ts`. */
const faults = (Object.keys(databaseFaults) as DatabaseFault[]).filter(
  (fault) => !fault.startsWith('stopped'),
);

describe('Trouble with Postgres: nothing lost, nothing dead, no attempt counted, work goes on by itself', () => {
  let setting: Setting;
  const scenarios = new Scenarios<DatabaseFault>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const fault of faults) scenarios.start(fault, () => databaseFaults[fault](setting, {}));
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(faults)('%s', (fault) => scenarios.result(fault));
});
