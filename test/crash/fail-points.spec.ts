import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { killThere, loseAnswers, windows, type CrashWindow } from './support/crash-windows.js';
import { Scenarios } from './support/scenarios.js';
import { Setting } from './support/setting.js';

const places = Object.keys(windows) as CrashWindow[];

describe('A service killed in a crash window', () => {
  let setting: Setting;
  const scenarios = new Scenarios<CrashWindow | 'lost answer'>();

  beforeAll(async () => {
    setting = await Setting.open();
    for (const place of places) scenarios.start(place, async () => killThere(await setting.world(), place));
    scenarios.start('lost answer', () => loseAnswers(setting));
  });

  afterAll(async () => {
    await setting.close();
    await scenarios.ended();
  });

  it.each(places.map((place) => [windows[place].title, place] as const))('%s', async (_title, place) => {
    await scenarios.result(place);
  });

  it('goes on by what the ledger says when the answer to COMMIT is lost', () =>
    scenarios.result('lost answer'));
});
