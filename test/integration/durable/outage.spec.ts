import { databaseFaults } from '../../crash/support/database-faults.js';
import { Setting } from '../../crash/support/setting.js';

// Its minute is spent waiting: not among the specs of `crash/`, which have the machine for themselves.
describe('Postgres that is stopped for a minute in mid-stream', () => {
  let setting: Setting;
  beforeAll(async () => {
    setting = await Setting.open();
  });
  afterAll(() => setting.close());

  it('loses nothing, has nothing dead and no attempt counted, and work goes on by itself', () =>
    databaseFaults['stopped for 60 s in mid-stream'](setting, {}));
});
