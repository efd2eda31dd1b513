import { BrokerFixture } from '../../support/broker-fixture.js';
import { databaseUrl } from '../../support/ledger-schema.js';
import type { ScenarioName } from './children/scenarios.js';
import { startService } from './start-service.js';

const fixture = new BrokerFixture();
const password = new URL(databaseUrl()).password;

beforeAll(() => fixture.connect());
afterAll(() => fixture.dispose());

const start = (scenario: ScenarioName, main: 'caught' | 'floating', topicExists = true) =>
  startService(fixture, scenario, main, { topicExists });

const EXPECTED: [ScenarioName, string][] = [
  ['broker unreachable', 'No Kafka broker can be reached'],
  ['broker name unknown', 'No Kafka broker can be reached'],
  ['database unreachable', 'No connection to Postgres at 127.0.0.1:1/'],
  ['database password wrong', 'password authentication failed'],
  ['database missing', 'Check user, password and database in the option "connection"'],
  ['topic missing', 'does not exist. Create it, or set the option "provision"'],
  ['option unknown', 'Option "concurency" is not an option of this transport. Did you mean "concurrency"?'],
  [
    'option misspelt in retry',
    'Option "retry.atempts" is not an option of this transport. Did you mean "attempts"?',
  ],
  ['option value wrong', `Option "concurrency" is '4'; it must be a whole number from 1 to 1000`],
  ['option of a wrong kind', 'Option "deadLetter" must be true, a topic, or { topic }'],
  [
    'durable option unknown',
    'Option "DurableModule.shema" is not an option of this transport. Did you mean "schema"?',
  ],
  ['connection missing', 'Option "DurableModule.connection" is missing'],
  ['two durable modules', 'DurableModule is imported 2 times with different options'],
  ['interceptor not reached', 'its interceptor does not reach the handlers of this Kafka server'],
  ['built-in transport', "this application listens through Nest's built-in Kafka transport"],
  ['autoCommit true', 'Option "run.autoCommit" is true, but with DurableModule'],
  ['autoCommit false', 'Option "run.autoCommit" is false, but with DurableModule'],
  ['object pattern', "A Kafka pattern is a topic's name or a RegExp, not a value of type object"],
  ['two message handlers', 'a request can have one answer only'],
  ['pool too small', 'Raise its "max", or lower "concurrency"'],
  ['heartbeat above session', 'it must be lower than consumer.sessionTimeout (6000)'],
];

it('listens and closes where nothing is wrong', async () => {
  const service = await (await start('fine', 'caught')).end();
  expect(service.output).toContain('LISTENING');
  expect(service.code).toBe(0);
});

describe.each(EXPECTED)('%s', (scenario, message) => {
  it('is one error that says what to do, and leaves nothing that keeps the process', async () => {
    const service = await start(scenario, 'caught', scenario !== 'topic missing');
    await service.printed(message);
    await service.end(6_000);
    expect(service.code).toBe(1);
    const { output, lines } = service;
    expect(output.split(message)).toHaveLength(2);
    expect(output).not.toContain('LISTENING');
    expect(output).not.toContain('not-the-pass-phrase');
    if (password.length > 3) expect(output).not.toContain(password);
    expect(lines.length).toBeLessThanOrEqual(24);
  });
});

it.each(['database password wrong', 'option unknown', 'topic missing', 'pool too small'] as const)(
  'ends a process that nobody catches the error in: %s',
  async (scenario) => {
    const service = await (await start(scenario, 'floating', scenario !== 'topic missing')).end();
    expect(service.code).toBe(1);
    expect(service.lines.length).toBeLessThanOrEqual(60);
    expect(service.output).not.toContain('not-the-pass-phrase');
    if (password.length > 3) expect(service.output).not.toContain(password);
  },
);
