import { randomUUID } from 'node:crypto';
import { Controller, Module, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import type { KafkaConfig, SASLOptions } from 'kafkajs';
import { firstValueFrom } from 'rxjs';
import { ClientKafkaProxy, ServerKafka, type KafkaTransportOptions } from '../../../lib/index.js';
import { eventually } from '../../support/eventually.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { BRIEF_SESSION, PASSWORD, SecureKafka, USER } from '../../support/secure-kafka.js';

/** A token that nobody has signed; valid for an hour. */
function token(): { value: string } {
  const part = (content: object) => Buffer.from(JSON.stringify(content)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  return { value: `${part({ alg: 'none' })}.${part({ sub: USER, iat: now, exp: now + 3_600 })}.` };
}

describe('a broker that asks who is there', () => {
  let kafka: SecureKafka;
  let topic: string;
  let log: RecordingLogger;
  let seen: string[];
  let app: INestMicroservice | undefined;
  let client: ClientKafkaProxy;
  let clients: ClientKafkaProxy[];

  beforeAll(async () => {
    kafka = await SecureKafka.start();
  });
  afterAll(() => kafka?.stop());

  beforeEach(() => {
    topic = `secured-${randomUUID().slice(0, 8)}`;
    log = new RecordingLogger();
    seen = [];
    clients = [];
  });

  afterEach(async () => {
    await Promise.all(clients.map((each) => each.close()));
    await app?.close();
    app = undefined;
  });

  const options = (access: KafkaConfig): KafkaTransportOptions => ({
    client: { clientId: topic, connectionTimeout: 20_000, ...access },
    consumer: { groupId: topic, maxWaitTimeInMs: 200, allowAutoTopicCreation: true },
    subscribe: { fromBeginning: true },
  });

  async function start(access: KafkaConfig): Promise<void> {
    const events: unknown = `${topic}.event`;

    @Controller()
    class Orders {
      @EventPattern(events)
      onOrder(@Payload() { id }: { id: string }) {
        seen.push(id);
      }

      @MessagePattern(topic)
      double(@Payload() { pieces }: { pieces: number }) {
        return { pieces: pieces * 2 };
      }
    }

    @Module({ controllers: [Orders] })
    class App {}

    const strategy = new ServerKafka(options(access));
    app = await NestFactory.createMicroservice(App, { strategy, logger: log });
    await app.listen();
    client = connect(access);
    client.subscribeToResponseOf(topic);
    await client.connect();
  }

  function connect(access: KafkaConfig): ClientKafkaProxy {
    const one = new ClientKafkaProxy(options(access));
    clients.push(one);
    return one;
  }

  const ask = (pieces: number) => firstValueFrom(client.send<unknown, object>(topic, { pieces }));
  const troubles = () => log.lines.filter((line) => /^(warn|error)/.test(line));

  const tls = () => ({ ca: kafka.ca });
  const plain: SASLOptions = { mechanism: 'plain', username: USER, password: PASSWORD };
  const ways: [string, () => KafkaConfig][] = [
    [
      'the certificate of the client',
      () => ({ brokers: [kafka.mutualTls], ssl: { ...tls(), pfx: kafka.pfx, passphrase: kafka.passphrase } }),
    ],
    ...(
      [
        plain,
        { mechanism: 'scram-sha-256', username: USER, password: PASSWORD },
        { mechanism: 'scram-sha-512', username: USER, password: PASSWORD },
        { mechanism: 'oauthbearer', oauthBearerProvider: () => Promise.resolve(token()) },
      ] satisfies SASLOptions[]
    ).map((sasl): [string, () => KafkaConfig] => [
      `${sasl.mechanism} over TLS`,
      () => ({ brokers: [kafka.sasl], ssl: tls(), sasl }),
    ]),
  ];

  it.each(ways)('takes %s: events and requests', async (_name, access) => {
    await start(access());

    expect(await ask(21)).toEqual({ pieces: 42 });
    await firstValueFrom(client.emit(`${topic}.event`, { id: 'an order' }));
    await eventually(() => seen.length > 0);

    expect(seen).toEqual(['an order']);
    expect(troubles()).toEqual([]);
  });

  it('gets new credentials before a session ends, while requests go on', async () => {
    let issued = 0;
    const oauthBearerProvider = () => {
      issued++;
      return Promise.resolve(token());
    };
    const sasl: SASLOptions = { mechanism: 'oauthbearer', oauthBearerProvider };
    const access = { brokers: [kafka.brief], ssl: tls(), sasl };
    await start(access);
    const quiet = connect(access);
    await firstValueFrom(quiet.emit(`${topic}.event`, { id: 'before' }));
    await ask(0);
    const before = issued;

    // Sessions end by time; these are two of them.
    const over = performance.now() + 2 * BRIEF_SESSION;
    for (let pieces = 1; performance.now() < over; pieces++) {
      expect(await ask(pieces)).toEqual({ pieces: pieces * 2 });
    }
    await firstValueFrom(quiet.emit(`${topic}.event`, { id: 'after' }));
    await eventually(() => seen.length === 2);

    expect(seen).toEqual(['before', 'after']);
    expect(issued).toBeGreaterThan(before);
    expect(troubles()).toEqual([]);
  });

  const refusals: [string, () => KafkaConfig, string][] = [
    [
      'a wrong password',
      () => ({ brokers: [kafka.sasl], ssl: tls(), sasl: { ...plain, password: 'wrong horse' } }),
      'SASL PLAIN authentication failed',
    ],
    [
      'a certificate that nobody vouches for',
      () => ({ brokers: [kafka.sasl], ssl: true, sasl: plain }),
      'certificate',
    ],
    ['no credentials', () => ({ brokers: [kafka.sasl], ssl: tls() }), 'Closed connection'],
    ['no certificate of the client', () => ({ brokers: [kafka.mutualTls], ssl: tls() }), 'bad certificate'],
    ['no TLS', () => ({ brokers: [kafka.sasl], sasl: plain }), 'Closed connection'],
    [
      'TLS where there is none',
      () => ({ brokers: [kafka.open], ssl: tls() }),
      'before secure TLS connection',
    ],
  ];

  it.each(refusals)('is told apart by its error: %s', async (_name, access, text) => {
    const failure = await start({ ...access(), retry: { retries: 1, initialRetryTime: 50 } }).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(failure?.message).toContain(text);
    expect(failure?.message).toContain('"client.ssl"');
    expect(failure?.message).toContain('"client.sasl"');
    expect(failure?.message).not.toContain('\n');
    expect(String(failure?.stack)).not.toContain('horse');
  });
});
