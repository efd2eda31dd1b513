import { BrokerFixture, brokers } from '../../support/broker-fixture.js';
import { Program } from '../../support/program.js';
import { SETTINGS_VARIABLE, type DrainSettings } from './children/settings.js';

const program = new URL('../../dist/test/integration/lifecycle/children/drain.js', import.meta.url);
const TOTAL = 200_000;
const MEGABYTE = 1024 * 1024;
const fixture = new BrokerFixture();

beforeAll(() => fixture.connect());
afterAll(() => fixture.dispose());

it('drains 200,000 records behind a slow handler in bounded memory', async () => {
  const topic = await fixture.topic('drain');
  const value = Buffer.from(JSON.stringify({ text: 'x'.repeat(80) }));
  const batch = Array.from({ length: 10_000 }, () => ({
    topic,
    key: Buffer.from('key'),
    value,
    headers: [],
  }));
  for (let produced = 0; produced < TOTAL; produced += batch.length) await fixture.produce(...batch);

  const settings: DrainSettings = {
    ...{ brokers: brokers(), topic, total: TOTAL },
    group: fixture.group(),
    slow: 2_000,
  };
  const env = { [SETTINGS_VARIABLE]: JSON.stringify(settings) };
  // All of the records at once would take some 150 MB.
  const drain = await new Program(program, env, ['--max-old-space-size=72']).end(120_000);
  expect({ code: drain.code, output: drain.output }).toEqual({
    code: 0,
    output: expect.stringContaining('highest'),
  });
  const { handled, highest } = JSON.parse(drain.lines.at(-1)!) as { handled: number; highest: number };
  expect(handled).toBe(TOTAL);
  expect(highest).toBeLessThan(110 * MEGABYTE);
});
