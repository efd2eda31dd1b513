import { randomUUID } from 'node:crypto';
import { Logger } from '@nestjs/common';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import type { DriverAdmin, DriverConsumer, KafkaDriver } from '../../lib/driver/driver.js';
import {
  ConnectionClosedError,
  ReplyPartitionMissingError,
  ReplyTimeoutError,
} from '../../lib/errors/errors.js';
import { headerValue } from '../../lib/messages/record.js';
import { deferred, type Deferred } from '../../lib/runtime/deferred.js';
import { ClientKafkaProxy } from '../../lib/transport/client-kafka.proxy.js';
import type { KafkaTransportOptions } from '../../lib/transport/kafka-transport.options.js';
import { ReplyPartitionAssigner } from '../../lib/transport/reply-partition-assigner.js';
import { EchoServer } from './echo-server.js';
import { eventually } from './eventually.js';

const range = (count: number) => Array.from({ length: count }, (_, index) => index);

/** What the client does over a driver, with a server that shares no code with it. */
export function describeClient(name: string, makeDriver: () => KafkaDriver): void {
  describe(`the client over ${name}`, () => {
    let driver: KafkaDriver;
    let admin: DriverAdmin;
    let topic: string;
    let server: EchoServer;
    let clients: ClientKafkaProxy[];
    let slowMember: DriverConsumer | undefined;
    let isRevoked: Deferred<void>;

    // Clients without a partition say so again and again.
    beforeAll(() => Logger.overrideLogger(false));

    /** Makes the topics, the server and the first client. */
    async function setUp(partitions: number, options: KafkaTransportOptions = {}): Promise<ClientKafkaProxy> {
      await admin.createTopics([
        { topic, partitions: 2 },
        { topic: `${topic}.reply`, partitions },
      ]);
      await server.start();
      return newClient(options);
    }

    function newClient(options: KafkaTransportOptions = {}): ClientKafkaProxy {
      const consumer = {
        groupId: topic,
        maxWaitTimeInMs: 100,
        rebalanceTimeout: 10_000,
        heartbeatInterval: 300,
      };
      const client = new ClientKafkaProxy({ driver, consumer, requestTimeout: 20_000, ...options });
      client.subscribeToResponseOf(topic);
      clients.push(client);
      return client;
    }

    const ask = (client: ClientKafkaProxy, value: unknown): Promise<unknown> =>
      firstValueFrom(client.send(topic, value as string));

    const targetOf = (client: ClientKafkaProxy) => client.getConsumerAssignments()[`${topic}.reply`];

    async function failure(promise: Promise<unknown>): Promise<Error> {
      return promise.then(
        (value) => Promise.reject(new Error(`It resolved with ${JSON.stringify(value)}`)),
        (error: Error) => error,
      );
    }

    beforeEach(async () => {
      driver = makeDriver();
      topic = `client-${randomUUID().slice(0, 8)}`;
      server = new EchoServer(driver, topic);
      clients = [];
      slowMember = undefined;
      isRevoked = deferred();
      admin = driver.createAdmin();
      await admin.connect();
    });

    afterEach(async () => {
      isRevoked.resolve();
      server.release();
      await Promise.all([slowMember?.stop(), ...clients.map((client) => client.close())]);
      await server.stop();
      const own = (await admin.describeTopics())
        .map((each) => each.topic)
        .filter((each) => each.startsWith(topic));
      await admin.deleteTopics(own);
      await admin.disconnect();
    });

    it('gets replies to requests in any number at once, each its own', async () => {
      const client = await setUp(1);
      expect(await ask(client, { hello: 'world' })).toEqual({ hello: 'world' });
      const values = range(300).map((n) => `value ${n}`);
      expect(await Promise.all(values.map((value) => ask(client, value)))).toEqual(values);
      expect(client.unclaimedReplies).toEqual({ late: 0, unknown: 0, forged: 0 });
    });

    it('sends what the built-in client sends', async () => {
      const client = await setUp(1);
      await ask(client, { key: 'k', value: { a: 1 }, headers: { mine: 'x' } });
      const [request] = server.requests;
      expect(request).toMatchObject({ topic, key: Buffer.from('k'), value: Buffer.from('{"a":1}') });
      const header = (header: string) => headerValue(request!.headers, header)?.toString();
      expect(header('mine')).toBe('x');
      expect(header('kafka_replyTopic')).toBe(`${topic}.reply`);
      expect(header('kafka_replyPartition')).toBe('0');
      expect(header('kafka_correlationId')).toMatch(/^[0-9a-f-]{36}$/);
    });

    it('makes the reply topic if there is none', async () => {
      await admin.createTopics([{ topic, partitions: 1 }]);
      await server.start();
      expect(await ask(newClient(), 'x')).toBe('x');
    });

    it('loses none of a hundred replies when others join and leave meanwhile', async () => {
      const client = await setUp(4);
      await client.connect();
      const target = targetOf(client);
      server.hold();
      const replies = Promise.all(range(100).map((n) => ask(client, `r${n}`)));
      await eventually(() => server.requests.length === 100);
      const second = newClient();
      const joining = second.connect();
      // Answers arrive before, in and after the rebalance.
      server.release();
      await joining;
      const third = newClient();
      const more = Promise.all(range(100).map((n) => ask(client, `s${n}`)));
      await third.connect();
      await second.close();
      expect(await replies).toEqual(range(100).map((n) => `r${n}`));
      expect(await more).toEqual(range(100).map((n) => `s${n}`));
      await eventually(() => targetOf(client) === target);
      expect(client.unclaimedReplies).toEqual({ late: 0, unknown: 0, forged: 0 });
      expect(await ask(third, 'x')).toBe('x');
    });

    it('asks and is answered while somebody else holds up the rebalance of its group', async () => {
      const client = await setUp(3);
      await client.connect();
      slowMember = driver.createConsumer({
        groupId: `${topic}-client`,
        topics: [`${topic}.reply`],
        fromBeginning: false,
        assigners: [new ReplyPartitionAssigner()],
      });
      let isRevoking = false;
      await slowMember.start({
        onAssigned: () => Promise.resolve(),
        onRevoked: () => {
          isRevoking = true;
          return isRevoked.promise;
        },
        onRecords: () => undefined,
        onStatus: () => undefined,
        onOffsetOutOfRange: () => undefined,
      });
      server.hold();
      const before = Promise.all(range(100).map((n) => ask(client, `r${n}`)));
      await eventually(() => server.requests.length === 100);
      let isJoined = false;
      const joining = newClient()
        .connect()
        .then(() => (isJoined = true));
      await eventually(() => isRevoking);
      server.release();
      expect(await before).toEqual(range(100).map((n) => `r${n}`));
      const meanwhile = await Promise.all(range(100).map((n) => ask(client, `s${n}`)));
      expect(meanwhile).toEqual(range(100).map((n) => `s${n}`));
      expect(isJoined).toBe(false);
      isRevoked.resolve();
      await joining;
      expect(client.unclaimedReplies).toEqual({ late: 0, unknown: 0, forged: 0 });
    });

    it('never shares a partition, also after close() and connect()', async () => {
      const first = await setUp(3);
      const second = newClient();
      await first.connect();
      await second.connect();
      await first.close();
      await second.close();
      await Promise.all([first.connect(), second.connect()]);
      await first.close();
      const third = newClient();
      await Promise.all([third.connect(), first.connect()]);
      await eventually(() => [first, second, third].map(targetOf).sort().join() === '0,1,2');
      const values = ['a', 'b', 'c'];
      const replies = [first, second, third].map((client, index) => ask(client, values[index]));
      expect(await Promise.all(replies)).toEqual(values);
    });

    it('says so when there are more clients than reply partitions', async () => {
      const first = await setUp(1);
      await first.connect();
      const second = newClient();
      const error = await failure(ask(second, 'x'));
      expect(error).toBeInstanceOf(ReplyPartitionMissingError);
      expect(error.message).toMatch(new RegExp(`"${topic}\\.reply".* 1 partition `));
      expect(await ask(first, 'x')).toBe('x');
    });

    it('works with more clients than reply partitions where they share them', async () => {
      const replyPartition = 'shared' as const;
      const all = [await setUp(1, { replyPartition }), ...range(4).map(() => newClient({ replyPartition }))];
      const values = range(50).flatMap((n) => all.map((_, index) => `${index}/${n}`));
      const replies = await Promise.all(values.map((value) => ask(all[Number(value[0])]!, value)));
      expect(replies).toEqual(values);
      await all[0]!.close();
      expect(await ask(all[1]!, 'x')).toBe('x');
    });

    it('rejects what waits when it is closed, and starts anew', async () => {
      const client = await setUp(1);
      server.hold();
      const waiting = range(10).map((n) => failure(ask(client, `w${n}`)));
      await eventually(() => server.requests.length === 10);
      await client.close();
      for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(ConnectionClosedError);
      server.release();
      expect(await ask(client, 'again')).toBe('again');
    });

    it('gives up after requestTimeout, and counts what comes later', async () => {
      const client = await setUp(1, { requestTimeout: 2_000 });
      await client.connect();
      server.hold();
      expect(await failure(ask(client, 'slow'))).toBeInstanceOf(ReplyTimeoutError);
      await eventually(() => server.requests.length === 1);
      server.release();
      await eventually(() => client.unclaimedReplies.late === 1);
      expect(await ask(client, 'quick')).toBe('quick');
    });

    it('bears replies that come twice, to nobody, or without an id', async () => {
      const client = await setUp(1);
      server.copies = 2;
      expect(await lastValueFrom(client.send(topic, 'x'))).toBe('x');
      await eventually(() => client.unclaimedReplies.late === 1);
      const to = { topic: `${topic}.reply`, partition: 0, key: null };
      const forged = Buffer.from('{"looks":"like JSON"}');
      await server.produce({ ...to, value: null, headers: [['kafka_correlationId', forged]] });
      await server.produce({ ...to, value: Buffer.from('{'), headers: [] });
      await eventually(() => client.unclaimedReplies.unknown === 2);
      expect(await ask(client, 'y')).toBe('y');
    });

    it('emits events, keyed, as tombstones and in batches', async () => {
      const client = await setUp(1);
      await lastValueFrom(client.emit(`${topic}.events`, { key: 'k', value: null }));
      const messages = range(5).map((n) => ({ key: `k${n}`, value: { n } }));
      const places = await lastValueFrom(client.emitBatch(`${topic}.events`, { messages }));
      expect(places.every(({ topicName }) => topicName === `${topic}.events`)).toBe(true);
      const marks = await admin.watermarks(`${topic}.events`);
      expect(marks.reduce((sum, { low, high }) => sum + high - low, 0n)).toBe(6n);
    });
  });
}
