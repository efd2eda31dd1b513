import { jest } from '@jest/globals';
import { BrokerFixture, brokers } from '../../support/broker-fixture.js';
import { EchoServer } from '../../support/echo-server.js';
import { eventually } from '../../support/eventually.js';
import { Program } from '../../support/program.js';
import { SETTINGS_VARIABLE, type RequesterSettings } from './children/settings.js';

const program = new URL('../../dist/test/integration/client/children/requester.js', import.meta.url);

// Starts of processes, and two sessions that have to run out.
jest.setTimeout(120_000);

describe('Three requesters on three reply partitions, a hundred requests under way in each', () => {
  const fixture = new BrokerFixture();
  let server: EchoServer;
  let settings: RequesterSettings;
  const requesters: Program[] = [];

  beforeAll(async () => {
    await fixture.connect();
    const topic = await fixture.topic('stress', { partitions: 3, reply: true });
    server = new EchoServer(fixture.driver, topic);
    // A third of the requests takes its time: somebody is always waiting when something happens.
    server.delay = () => (Math.random() < 0.3 ? Math.random() * 800 : 0);
    await server.start();
    settings = {
      ...{ brokers: brokers(), group: fixture.group(), topic, inFlight: 100 },
      ...{ sessionTimeout: 6_000, requestTimeout: 4_000 },
    };
  });

  afterAll(async () => {
    for (const requester of requesters) requester.kill('SIGKILL');
    await server.stop();
    await fixture.dispose();
  });

  function start(): Program {
    const requester = new Program(program, { [SETTINGS_VARIABLE]: JSON.stringify(settings) });
    requesters.push(requester);
    return requester;
  }

  async function started(): Promise<Program> {
    const requester = start();
    await requester.printed('JOINED');
    return requester;
  }

  const answered = (requester: Program) =>
    Number(requester.lines.findLast((line) => line.startsWith('ANSWERED'))?.split(' ')[1] ?? 0);

  /** Resolves when each has got a thousand replies more. */
  async function goOn(...going: Program[]): Promise<void> {
    const wanted = going.map((requester) => answered(requester) + 1_000);
    await eventually(() => going.every((requester, index) => answered(requester) >= wanted[index]!), 40_000);
  }

  async function ended(requester: Program): Promise<unknown> {
    requester.kill('SIGTERM');
    await requester.end(30_000);
    const result = requester.lines.at(-1)!;
    expect(result).toMatch(/^RESULT/);
    return JSON.parse(result.slice('RESULT '.length));
  }

  it('lose no reply and no request, whoever of them crashes, joins or leaves', async () => {
    const whole = { failures: [], pendingRequests: 0, unclaimedReplies: { late: 0, unknown: 0, forged: 0 } };
    const [first, second, third] = [await started(), await started(), await started()];
    expect([first, second, third].map(({ lines }) => lines[0]).sort()).toEqual([
      'JOINED 0',
      'JOINED 1',
      'JOINED 2',
    ]);
    await goOn(first, second, third);

    // The rebalance for its successor lasts until the session of the dead one has run out.
    third.kill('SIGKILL');
    await third.ended;
    const fourth = start();
    await goOn(first, second);
    await fourth.printed('JOINED');
    await goOn(first, second, fourth);

    expect(await ended(second)).toMatchObject(whole);
    await goOn(first, fourth);
    const fifth = await started();
    await goOn(first, fourth, fifth);

    first.kill('SIGKILL');
    await first.ended;
    const sixth = await started();
    await goOn(fourth, fifth, sixth);
    for (const requester of [fourth, fifth, sixth]) expect(await ended(requester)).toMatchObject(whole);
  });
});
