import { brokers, type BrokerFixture } from '../../support/broker-fixture.js';
import { databaseUrl } from '../../support/ledger-schema.js';
import { Program } from '../../support/program.js';
import { SETTINGS_VARIABLE, type ScenarioName, type StartupSettings } from './children/scenarios.js';

const program = new URL('../../dist/test/integration/startup/children/service.js', import.meta.url);

/** Starts a service in a process of its own. */
export async function startService(
  fixture: BrokerFixture,
  scenario: ScenarioName,
  main: StartupSettings['main'],
  { topicExists = true, addresses = brokers() } = {},
): Promise<Program> {
  const settings: StartupSettings = {
    ...{ scenario, main, brokers: addresses, databaseUrl: databaseUrl() },
    group: fixture.group(),
    topic: topicExists ? await fixture.topic('startup') : fixture.topicName('startup'),
    schema: fixture.schema(),
  };
  return new Program(program, { [SETTINGS_VARIABLE]: JSON.stringify(settings) });
}
