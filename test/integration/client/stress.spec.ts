import { Logger } from '@nestjs/common';
import { firstValueFrom } from 'rxjs';
import { ReplyPartitionMissingError } from '../../../lib/errors/errors.js';
import { ClientKafkaProxy } from '../../../lib/transport/client-kafka.proxy.js';
import { BrokerFixture, brokers } from '../../support/broker-fixture.js';
import { EchoServer } from '../../support/echo-server.js';
import { eventually } from '../../support/eventually.js';
import { Program } from '../../support/program.js';
import { SETTINGS_VARIABLE, type RequesterSettings } from './children/settings.js';

const program = new URL('../../dist/test/integration/client/children/requester.js', import.meta.url);

const answered = (requester: Program) =>
  Number(requester.lines.findLast((line) => line.startsWith('ANSWERED'))?.split(' ')[1] ?? 0);

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
      // Requests do not wait for a rebalance that waits for the session of a dead one.
      ...{ sessionTimeout: 12_000, requestTimeout: 10_000 },
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

  /** Resolves when each has got five hundred replies more. */
  async function goOn(...going: Program[]): Promise<void> {
    const wanted = going.map((requester) => answered(requester) + 500);
    await eventually(() => going.every((requester, index) => answered(requester) >= wanted[index]!));
  }

  async function ended(requester: Program): Promise<unknown> {
    requester.kill('SIGTERM');
    await requester.end();
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

describe('A requester whose group goes on without it', () => {
  const fixture = new BrokerFixture();

  beforeAll(() => {
    // Who was evicted says so.
    Logger.overrideLogger(false);
    return fixture.connect();
  });
  afterAll(() => fixture.dispose());

  it('still gets the replies that were on their way, though its partition is another one’s now', async () => {
    const topic = await fixture.topic('evicted', { reply: true });
    const consumer = { groupId: fixture.group(), sessionTimeout: 30_000, heartbeatInterval: 300 };
    const newClient = (clientId: string, heartbeatInterval: number) => {
      const client = new ClientKafkaProxy({
        client: { brokers: brokers(), clientId },
        consumer: { ...consumer, heartbeatInterval },
      });
      client.subscribeToResponseOf(topic);
      return fixture.closing(client);
    };
    const server = fixture.closing(new EchoServer(fixture.driver, topic));
    await server.start();
    const target = (client: ClientKafkaProxy) => client.getConsumerAssignments()[`${topic}.reply`];

    // It hears of its eviction late: by then the other one holds the partition.
    const evicted = newClient('evicted', 5_000);
    await evicted.connect();
    const heir = newClient('heir', 200);
    await heir.connect();
    expect([target(evicted), target(heir)]).toEqual([0, undefined]);
    server.hold();
    const replies = Array.from({ length: 100 }, (_, n) =>
      firstValueFrom(evicted.send<string>(topic, `${n}`)),
    );
    await eventually(() => server.requests.length === 100);

    const group = await evicted.consumer.describeGroup();
    const member = group.members.find(({ clientId }) => clientId.startsWith('evicted'))!;
    const admin = fixture.driver.createAdmin();
    await admin.removeMember(`${consumer.groupId}-client`, member.memberId);
    await admin.disconnect();
    await eventually(() => target(heir) === 0);
    await eventually(() => target(evicted) === undefined);
    server.release();

    expect(await Promise.all(replies)).toEqual(replies.map((_, n) => `${n}`));
    expect(await firstValueFrom(heir.send(topic, 'mine'))).toBe('mine');
    await expect(firstValueFrom(evicted.send(topic, 'more'))).rejects.toThrow(ReplyPartitionMissingError);
  });
});

describe('Ten thousand requests at once', () => {
  const fixture = new BrokerFixture();

  beforeAll(() => fixture.connect());
  afterAll(() => fixture.dispose());

  it('are all answered, and leave nothing behind: three times as many fit into the same heap', async () => {
    const topic = await fixture.topic('many', { partitions: 2, reply: true });
    const server = fixture.closing(new EchoServer(fixture.driver, topic));
    await server.start();
    server.hold();
    const settings: RequesterSettings = {
      ...{ brokers: brokers(), group: fixture.group(), topic, inFlight: 10_000 },
      ...{ sessionTimeout: 30_000, requestTimeout: 180_000 },
    };
    const env = { [SETTINGS_VARIABLE]: JSON.stringify(settings) };
    const requester = fixture.closing(new Program(program, env, ['--max-old-space-size=144']));
    await requester.printed('JOINED');
    await eventually(() => server.requests.length === 10_000);
    server.release();
    await eventually(() => answered(requester) >= 30_000);
    requester.kill('SIGTERM');
    await requester.end();
    const result = JSON.parse(requester.lines.at(-1)!.slice('RESULT '.length)) as { answered: number };
    expect(result).toMatchObject({ failures: [], pendingRequests: 0 });
    expect(result.answered).toBe(server.requests.length);
  });
});
