import { randomUUID } from 'node:crypto';
import { ClientKafka, RpcException, ServerKafka, type KafkaOptions } from '@nestjs/microservices';
import kafkajs from 'kafkajs';
import { concat, firstValueFrom, lastValueFrom, of, throwError, timer, toArray, map } from 'rxjs';
import { ClientKafkaProxy } from '../../../lib/transport/client-kafka.proxy.js';
import { createTopics } from '../../../sample/servers/create-topics.js';
import { eventually } from '../../support/eventually.js';

const { KAFKA_BROKERS } = process.env;
if (!KAFKA_BROKERS)
  throw new Error('KAFKA_BROKERS is not set: this suite needs a broker. Run it by test/run.mjs.');
const brokers = KAFKA_BROKERS.split(',');

const { Kafka, logLevel } = kafkajs;
const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();

type Options = NonNullable<KafkaOptions['options']>;

describe("Nest's built-in transport as peer", () => {
  let topic: string;
  let options: Options;
  let server: ServerKafka;
  let clients: (ClientKafka | ClientKafkaProxy)[];

  function join<T extends ClientKafka | ClientKafkaProxy>(client: T): T {
    client.subscribeToResponseOf(topic);
    clients.push(client);
    return client;
  }

  const ours = () => join(new ClientKafkaProxy(options));
  const builtIn = () => join(new ClientKafka(options));
  const targetOf = (client: ClientKafka | ClientKafkaProxy) =>
    client.getConsumerAssignments()[`${topic}.reply`];
  const ask = (client: ClientKafka | ClientKafkaProxy, value: unknown) =>
    firstValueFrom(client.send<unknown, unknown>(topic, value));

  beforeAll(() => admin.connect());
  afterAll(() => admin.disconnect());

  beforeEach(async () => {
    topic = `peers-${randomUUID().slice(0, 8)}`;
    clients = [];
    options = {
      client: { brokers, clientId: topic, logLevel: logLevel.NOTHING },
      consumer: { groupId: topic, heartbeatInterval: 300, sessionTimeout: 10_000, rebalanceTimeout: 10_000 },
    };
    const topics = [
      { topic, numPartitions: 1 },
      { topic: `${topic}.reply`, numPartitions: 3 },
    ];
    await createTopics(admin, topics);
    server = new ServerKafka(options);
    server.addHandler(topic, (data: unknown) => {
      if (data === 'fail') return Promise.resolve(throwError(() => new RpcException('refused').getError()));
      if (data === 'fail well') return Promise.resolve(throwError(() => ({ status: 'error', code: 7 })));
      if (data === 'stream') return Promise.resolve(of(1, 2, 3));
      if (data === 'slow stream') return Promise.resolve(concat(of('a'), timer(50).pipe(map(() => 'b'))));
      if (data === 'nothing') return Promise.resolve(undefined);
      return Promise.resolve({ echo: data });
    });
    await new Promise<void>(
      (resolve, reject) =>
        void server.listen((error?: unknown) => (error ? reject(error as Error) : resolve())),
    );
  });

  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.close();
    await admin.deleteTopics({ topics: [topic, `${topic}.reply`] });
  });

  it('answers our requests, with values, streams, errors and nothing', async () => {
    const client = ours();
    expect(await ask(client, { a: 1 })).toEqual({ echo: { a: 1 } });
    expect(await ask(client, { key: 'k', value: 'v', headers: { h: 'x' } })).toEqual({ echo: 'v' });
    expect(await ask(client, 'nothing')).toBeNull();
    expect(await lastValueFrom(client.send(topic, 'stream').pipe(toArray()))).toEqual(['1', '2', '3']);
    await expect(ask(client, 'fail')).rejects.toBe('refused');
    await expect(ask(client, 'fail well')).rejects.toEqual({ status: 'error', code: 7 });
  });

  it('gives us what it gives its own client', async () => {
    const [mine, theirs] = [ours(), builtIn()];
    await mine.connect();
    await theirs.connect();
    await eventually(() => targetOf(mine) !== undefined && targetOf(theirs) !== undefined);
    for (const data of ['text', 5, [1], 'nothing', 'stream', 'slow stream']) {
      const all = (client: ClientKafka | ClientKafkaProxy) =>
        lastValueFrom(client.send<unknown, unknown>(topic, data).pipe(toArray()));
      expect(await all(mine)).toEqual(await all(theirs));
    }
  });

  it.each([
    ['a built-in member leads', [builtIn, ours, builtIn]],
    ['a member of ours leads', [ours, builtIn, ours]],
  ])('shares a group with us: %s', async (_, makers) => {
    const members: (ClientKafka | ClientKafkaProxy)[] = [];
    for (const make of makers) {
      const member = make();
      await member.connect();
      members.push(member);
      await eventually(() => members.every((each) => targetOf(each) !== undefined));
      expect(new Set(members.map(targetOf)).size).toBe(members.length);
      const values = members.map((_, index) => `from ${index}`);
      const replies = await Promise.all(members.map((each, index) => ask(each, values[index])));
      expect(replies).toEqual(values.map((echo) => ({ echo })));
    }
  });
});
