import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Controller } from '@nestjs/common';
import {
  Ctx,
  EventPattern,
  KafkaContext,
  MessagePattern,
  Payload,
  type Serializer,
} from '@nestjs/microservices';
import kafkajs from 'kafkajs';
import { lastValueFrom } from 'rxjs';
import { ClientKafkaProxy, ServerKafka, type KafkaTransportOptions } from '../../../lib/index.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { InMemoryKafka } from '../../../lib/testing/in-memory-kafka/in-memory-kafka.js';
import type { DriverConsumerOptions, DriverProducerOptions } from '../../../lib/driver/driver.js';
import { brokers } from '../../support/broker-fixture.js';
import { KafkaApps } from '../../support/kafka-app.js';
import { eventually } from '../../support/eventually.js';

const { CompressionCodecs, CompressionTypes, logLevel } = kafkajs;

const apps = new KafkaApps();

beforeAll(() => apps.connect());
afterAll(() => apps.dispose());

function collector(topic: string, seen: unknown[]) {
  @Controller()
  class Collector {
    @EventPattern<string>(topic)
    one(@Payload() value: unknown) {
      seen.push(value);
    }
  }
  return Collector;
}

/** Resolves with what listening fails with. */
async function refusal(options: KafkaTransportOptions): Promise<Error> {
  const server = new ServerKafka(options);
  server.addHandler('anything', () => Promise.resolve(), true);
  try {
    return await new Promise((resolve) => void server.listen((error) => resolve(error as Error)));
  } finally {
    await server.close();
  }
}

describe('subscribe', () => {
  it.each([
    [true, ['before', 'after']],
    [false, ['after']],
    [undefined, ['after']],
  ])('.fromBeginning: %p', async (fromBeginning, wanted) => {
    const topic = await apps.topic();
    const seen: unknown[] = [];
    await apps.emit(topic, 'before');
    const { group } = await apps.start({
      controllers: [collector(topic, seen)],
      server: { subscribe: fromBeginning === undefined ? undefined : { fromBeginning } },
    });
    await apps.emit(topic, 'after');
    await apps.consumed(group, topic, 2);
    expect(seen).toEqual(wanted);
  });
});

describe('run', () => {
  it('.autoCommit: false leaves offsets to the handlers', async () => {
    const topic = await apps.topic();
    const seen: string[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      async one(@Payload() id: string, @Ctx() context: KafkaContext) {
        seen.push(id);
        if (id !== 'commit') return;
        const { offset } = context.getMessage();
        const next = String(BigInt(offset) + 1n);
        await context
          .getConsumer()
          .commitOffsets([{ topic: context.getTopic(), partition: context.getPartition(), offset: next }]);
      }
    }
    const server = { run: { autoCommit: false }, consumer: { groupId: apps.group() } };
    await apps.emit(topic, 'a', 'b');
    const first = await apps.start({ controllers: [Handlers], server });
    await eventually(() => seen.length === 2);
    await first.app.close();
    expect(await apps.committed(first.group, topic)).toBe(-1);
    await apps.emit(topic, 'commit', 'c');
    const second = await apps.start({ controllers: [Handlers], server });
    await eventually(() => seen.includes('c'));
    await second.app.close();
    expect(await apps.committed(first.group, topic)).toBe(3);
    expect(seen).toEqual(['a', 'b', 'a', 'b', 'commit', 'c']);
  });

  it('.autoCommitInterval and .autoCommitThreshold commit, whichever comes first', async () => {
    const topic = await apps.topic();
    const seen: unknown[] = [];
    const { group } = await apps.start({
      controllers: [collector(topic, seen)],
      server: { run: { autoCommitInterval: 600_000, autoCommitThreshold: 3 } },
    });
    await apps.emit(topic, 'a', 'b');
    await eventually(() => seen.length === 2);
    expect(await apps.committed(group, topic)).toBe(0);
    await apps.emit(topic, 'c');
    await apps.consumed(group, topic, 3);

    const other = await apps.topic();
    const quick = await apps.start({
      controllers: [collector(other, seen)],
      server: { run: { autoCommitInterval: 20, autoCommitThreshold: 1_000 } },
    });
    await apps.emit(other, 'd');
    await apps.consumed(quick.group, other, 1);
  });

  it.each([
    [{ run: { partitionsConsumedConcurrently: 2 } }, 2],
    [{ run: { partitionsConsumedConcurrently: 3 }, concurrency: 1 }, 1],
    [{}, 4],
  ])('%p works on %i of four partitions at once', async (server: KafkaTransportOptions, most) => {
    const topic = await apps.topic('concurrent', { partitions: 4 });
    const opened = deferred();
    let running = 0;
    let peak = 0;
    let done = 0;

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      async one() {
        peak = Math.max(peak, ++running);
        if (peak === most) setImmediate(opened.resolve);
        await opened.promise;
        running--;
        done++;
      }
    }
    const records = [0, 1, 2, 3].map((partition) => ({
      topic,
      partition,
      key: null,
      value: Buffer.from('x'),
      headers: [],
    }));
    await apps.produce(...records);
    await apps.start({ controllers: [Handlers], server });
    await eventually(() => done === 4);
    expect(peak).toBe(most);
  });
});

describe('send', () => {
  it('.compression compresses events, requests and replies', async () => {
    const topic = await apps.topic('gzip', { reply: true });
    const original = (CompressionCodecs[CompressionTypes.GZIP] as () => Codec)();
    const compressed: string[] = [];
    CompressionCodecs[CompressionTypes.GZIP] = () => ({
      ...original,
      compress: (encoder: { buffer: Buffer }) => {
        compressed.push(encoder.buffer.toString('latin1'));
        return original.compress(encoder);
      },
    });
    try {
      @Controller()
      class Handlers {
        @MessagePattern(topic)
        answer(@Payload() text: string) {
          return `the answer to ${text}`;
        }
      }
      const send = { compression: CompressionTypes.GZIP };
      await apps.start({ controllers: [Handlers], server: { send } });
      const client = apps.closing(new ClientKafkaProxy(apps.options(apps.group(), { send })));
      client.subscribeToResponseOf(topic);
      expect(await lastValueFrom(client.send(topic, 'a request'))).toBe('the answer to a request');
      await lastValueFrom(client.emit(topic, 'an event'));
      for (const text of ['a request', 'the answer', 'an event'])
        expect(compressed.filter((batch) => batch.includes(text))).not.toEqual([]);
    } finally {
      CompressionCodecs[CompressionTypes.GZIP] = () => original;
    }
  });

  it('.acks, .timeout and .compression, consumer and producer options reach the driver, on both sides', async () => {
    const given: { consumers: DriverConsumerOptions[]; producers: (DriverProducerOptions | undefined)[] } = {
      consumers: [],
      producers: [],
    };
    const driver = new InMemoryKafka();
    const { createConsumer, createProducer } = driver;
    driver.createConsumer = (options) => (
      given.consumers.push(options),
      createConsumer.call(driver, options)
    );
    driver.createProducer = (options) => (
      given.producers.push(options),
      createProducer.call(driver, options)
    );
    const options: KafkaTransportOptions = {
      driver,
      send: { acks: 1, timeout: 1_234, compression: CompressionTypes.GZIP },
      producer: { idempotent: true, maxInFlightRequests: 3 },
      consumer: {
        groupId: 'g',
        sessionTimeout: 9_000,
        rebalanceTimeout: 8_000,
        heartbeatInterval: 700,
        maxWaitTimeInMs: 60,
        minBytes: 5,
        maxBytes: 40_000,
        maxBytesPerPartition: 3_000,
        metadataMaxAge: 2_000,
        readUncommitted: true,
        rackId: 'r',
      },
    };
    const server = new ServerKafka(options);
    server.addHandler('t', () => Promise.resolve(), true);
    await new Promise<void>((resolve, reject) => {
      void server.listen((error) => (error ? reject(error as Error) : resolve()));
    });
    const client = new ClientKafkaProxy(options);
    client.subscribeToResponseOf('t');
    await client.connect();
    await client.close();
    await server.close();
    expect(given.consumers.map(({ groupId }) => groupId)).toEqual(['g-server', 'g-client']);
    for (const consumer of given.consumers) {
      expect(consumer).toMatchObject({
        sessionTimeout: 9_000,
        rebalanceTimeout: 8_000,
        heartbeatInterval: 700,
        maxWaitTime: 60,
        minBytes: 5,
        maxBytes: 40_000,
        maxBytesPerPartition: 3_000,
        metadataMaxAge: 2_000,
        readUncommitted: true,
        rackId: 'r',
        native: options.consumer,
      });
    }
    for (const producer of given.producers) {
      expect(producer).toMatchObject({
        acks: 1,
        timeout: 1_234,
        compression: CompressionTypes.GZIP,
        native: options.producer,
      });
    }
    expect(given.producers).toHaveLength(2);
  });
});

describe('client', () => {
  it('.brokers may be a function, and .logCreator gets the lines of kafkajs', async () => {
    const topic = await apps.topic();
    const lines: string[] = [];
    const seen: unknown[] = [];
    const { group } = await apps.start({
      controllers: [collector(topic, seen)],
      server: {
        client: {
          brokers: () => Promise.resolve(brokers()),
          logLevel: logLevel.DEBUG,
          logCreator: () => (entry) => void lines.push(entry.log.message),
        },
      },
    });
    await apps.emit(topic, 'a');
    await apps.consumed(group, topic, 1);
    expect(seen).toEqual(['a']);
    expect(lines).not.toEqual([]);
  });

  it('.retry ends a start that finds no broker', async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    let dials = 0;
    const error = await refusal({
      client: {
        brokers: [`127.0.0.1:${port}`],
        retry: { retries: 1, initialRetryTime: 10 },
        socketFactory: ({ host, port, onConnect }) => {
          dials++;
          return connect({ host, port }, onConnect);
        },
      },
    });
    expect(error.message).toContain('ECONNREFUSED');
    expect(dials).toBe(2);
  });

  it('.ssl makes it speak TLS', async () => {
    const hello = deferred<Buffer>();
    const sockets: Socket[] = [];
    const listener = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.once('data', (bytes) => {
        hello.resolve(bytes);
        socket.destroy();
      });
    }).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    await refusal({
      client: {
        brokers: [`localhost:${port}`],
        ssl: { servername: 'kafka.example' },
        retry: { retries: 0 },
        connectionTimeout: 2_000,
      },
    });
    listener.close();
    const bytes = await hello.promise;
    // A TLS record of type "handshake", for the server name given.
    expect(bytes[0]).toBe(0x16);
    expect(bytes.includes('kafka.example')).toBe(true);
  });

  it('.sasl makes it log in', async () => {
    // A broker that wants no login refuses one, and so tells that it was asked.
    const error = await refusal({
      client: {
        brokers: brokers(),
        sasl: { mechanism: 'plain', username: 'somebody', password: 'hidden-from-errors' },
        retry: { retries: 0 },
      },
    });
    expect(error.message).toMatch(/SASL/i);
    expect(JSON.stringify(error) + error.message).not.toContain('hidden-from-errors');
  });
});

describe('naming', () => {
  it.each([
    [undefined, '-server', '-client'],
    ['', '', ''],
    ['-v2', '-v2', '-v2'],
  ])(
    'with postfixId %p appends "%s" on the server and "%s" on the client',
    async (postfixId, server, client) => {
      const [topic, groupId] = [await apps.topic('named', { reply: true }), apps.group()];
      const given = { postfixId, client: { brokers: brokers(), clientId: 'named' }, consumer: { groupId } };

      @Controller()
      class Handlers {
        @MessagePattern(topic)
        answer() {
          return 'yes';
        }
      }
      const { app } = await apps.start({ controllers: [Handlers], server: given });
      const admin = apps.kafka.admin();
      await admin.connect();
      const clients = async (group: string) => {
        const { groups } = await admin.describeGroups([group]);
        return groups[0]!.members.map(({ clientId }) => clientId);
      };
      expect(await clients(groupId + server)).toEqual([`named${server}`]);
      if (server !== client) {
        const proxy = apps.closing(new ClientKafkaProxy(apps.options(groupId, given)));
        proxy.subscribeToResponseOf(topic);
        await proxy.connect();
        expect(await clients(groupId + client)).toEqual([`named${client}`]);
      }
      await app.close();
      await admin.deleteGroups([groupId + server]);
      await admin.disconnect();
    },
  );
});

describe('parser.keepBinary', () => {
  it('leaves values as bytes', async () => {
    const topic = await apps.topic();
    const seen: unknown[] = [];
    await apps.emit(topic, '{"a":1}');
    const { group } = await apps.start({
      controllers: [collector(topic, seen)],
      server: { parser: { keepBinary: true } },
    });
    await apps.consumed(group, topic, 1);
    expect(seen).toEqual([Buffer.from('{"a":1}')]);
  });
});

describe('serializer', () => {
  it.each([
    ['at once', (value: unknown) => value],
    ['by a promise', (value: unknown) => Promise.resolve(value)],
    [
      "by another library's promise",
      (value: unknown) => ({ then: Promise.resolve(value).then.bind(Promise.resolve(value)) }),
    ],
  ])('answers %s, for events, requests, replies and their errors', async (_, give) => {
    const topic = await apps.topic('serialized', { reply: true });
    const events = await apps.topic('serialized-events');
    const seen: unknown[] = [];

    @Controller()
    class Handlers {
      @MessagePattern(topic)
      answer(@Payload() text: string) {
        if (text.endsWith('fail')) throw new Error('hidden');
        return `answer to ${text}`;
      }

      @EventPattern<string>(events)
      event(@Payload() text: string) {
        seen.push(text);
      }
    }
    const of = (mark: string) =>
      ({
        serialize: (value: unknown) =>
          give({ value: value === undefined ? null : `${mark} ${String(value)}` }),
      }) as unknown as Serializer;
    await apps.start({ controllers: [Handlers], server: { serializer: of('<server>') } });
    const client = apps.closing(
      new ClientKafkaProxy(apps.options(apps.group(), { serializer: of('<client>') })),
    );
    client.subscribeToResponseOf(topic);
    expect(await lastValueFrom(client.send(topic, 'q'))).toBe('<server> answer to <client> q');
    await expect(lastValueFrom(client.send(topic, 'fail'))).rejects.toEqual({
      status: 'error',
      message: 'Internal server error',
    });
    await lastValueFrom(client.emit(events, 'e'));
    await eventually(() => seen.length > 0);
    expect(seen).toEqual(['<client> e']);
  });
});

interface Codec {
  compress(encoder: { buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}
