import { jest } from '@jest/globals';
import { createServer, Socket, type AddressInfo, type Server } from 'node:net';
import { connect as dial } from 'node:net';
import kafkajs, { type Consumer, type ISocketFactory, type Kafka } from 'kafkajs';
import { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import { openDoor } from '../../../lib/driver/kafkajs/kafkajs-internals.js';
import {
  BrokerUnreachableError,
  ConnectionClosedError,
  UnsupportedError,
  WrongCallOrderError,
} from '../../../lib/errors/errors.js';
import { systemClock, type Clock } from '../../../lib/runtime/clock.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { Bench, brokers, eventually, record, Recorder, unique } from './harness.js';

/** What keeps a process alive; a start that failed must add nothing. */
function openHandles(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap' || kind === 'Timeout');
}

/** Forwards to the real broker until it is cut; the broker's advertised address is reached directly, except here. */
class Proxy {
  private readonly sockets = new Set<Socket>();
  private constructor(readonly server: Server) {}

  static async open(): Promise<Proxy> {
    const [host, port] = brokers()[0]!.split(':') as [string, string];
    const proxy = new Proxy(
      createServer((client) => {
        const upstream = dial(Number(port), host);
        for (const socket of [client, upstream]) {
          proxy.sockets.add(socket);
          socket.on('error', () => undefined);
          socket.on('close', () => {
            client.destroy();
            upstream.destroy();
          });
        }
        client.pipe(upstream).pipe(client);
      }),
    );
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

describe('the kafkajs driver, connecting', () => {
  it('finds what it needs inside the installed kafkajs', async () => {
    const door = openDoor(new kafkajs.Kafka({ brokers: brokers() }));
    const connection = await door.connection();
    await connection.open();
    expect(connection.versions[1]!.maxVersion).toBeGreaterThanOrEqual(11);
    await connection.close(new Error('done'));
  });

  it('sets no timers that are due at once: an idle connection would be busy with them', async () => {
    const timers = jest.spyOn(globalThis, 'setTimeout');
    const door = openDoor(new kafkajs.Kafka({ brokers: brokers() }));
    const connection = await door.connection();
    await connection.open();
    await connection.close(new Error('done'));
    const delays = timers.mock.calls.map(([, delay]) => delay ?? 0);
    timers.mockRestore();
    // A connection's own bounds.
    expect(delays).not.toEqual([]);
    expect(delays.filter((delay) => delay <= 0)).toEqual([]);
  });

  it('says so if kafkajs is built in another way', () => {
    const altered = { consumer: () => ({}) } as unknown as Kafka;
    expect(() => openDoor(altered)).toThrow('Install kafkajs 2.2.4');
  });

  it('gives up on a port where nobody listens with one clear error, leaving nothing open', async () => {
    const closed = await Proxy.open();
    const address = `127.0.0.1:${closed.port}`;
    await closed.close();
    let dials = 0;
    const socketFactory: ISocketFactory = ({ host, port, onConnect }) => {
      dials++;
      return dial({ host, port }, onConnect);
    };
    const config = { brokers: [address], retry: { retries: 2, initialRetryTime: 20 }, socketFactory };
    const driver = new KafkajsDriver(config, systemClock, silentLog);
    const before = openHandles();
    const consumer = driver.createConsumer({ groupId: unique('dead'), topics: ['any'], fromBeginning: true });
    await expect(consumer.start(new Recorder())).rejects.toThrow(BrokerUnreachableError);
    expect(dials).toBe(3);
    await expect(driver.createProducer().connect()).rejects.toThrow('client.brokers');
    const admin = driver.createAdmin();
    await expect(admin.describeTopics()).rejects.toMatchObject({
      code: 'KT_BROKER_UNREACHABLE',
      retryable: true,
    });
    await admin.disconnect();
    await consumer.stop();
    await eventually('no handle more than before', () => openHandles().length <= before.length);
  });

  it('leaves nothing open after a start that failed on a missing topic, nor after a stop', async () => {
    const bench = new Bench();
    const before = openHandles();
    await expect(bench.consumer({ topics: [unique('missing')] })).rejects.toThrow('does not exist');
    await eventually('no handle more than before', () => openHandles().length <= before.length);
    const topic = await bench.topic(2);
    await bench.admin.disconnect();
    const { consumer } = await bench.consumer({ topics: [topic] });
    const producer = await bench.producer();
    await producer.send(record(topic, 'x'));
    await Promise.all([consumer.stop(), producer.disconnect()]);
    await eventually('no handle more than before', () => openHandles().length <= before.length);
    await bench.close();
  });

  it('ends at once while a broker that took the connection says nothing', async () => {
    const taken: Socket[] = [];
    const lines: string[] = [];
    const note = (line: string) => void lines.push(line);
    const silent = createServer((socket) => taken.push(socket.on('error', () => undefined)));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const driver = new KafkajsDriver(
      {
        brokers: [`127.0.0.1:${(silent.address() as AddressInfo).port}`],
        // Longer than the test has.
        ...{ requestTimeout: 3_600_000, connectionTimeout: 3_600_000 },
      },
      systemClock,
      { ...silentLog, warn: note, error: note },
    );
    const producer = driver.createProducer();
    const connected = expect(producer.connect()).rejects.toThrow(ConnectionClosedError);
    await eventually('a connection', () => taken.length > 0);
    await producer.disconnect();
    await connected;
    for (const socket of taken) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
    expect(lines).toEqual([]);
  });

  it('heals after every one of its connections was cut, without losing or repeating a record', async () => {
    const proxy = await Proxy.open();
    // Whatever address the broker advertises, this driver goes through the proxy.
    const { createConnection } = await import('node:net');
    const driver = new KafkajsDriver(
      {
        brokers: [`127.0.0.1:${proxy.port}`],
        retry: { initialRetryTime: 50 },
        socketFactory: ({ onConnect }) =>
          createConnection({ host: '127.0.0.1', port: proxy.port }, onConnect),
      },
      systemClock,
      silentLog,
    );
    const bench = new Bench();
    const topic = await bench.topic(2);
    const producer = driver.createProducer();
    await producer.connect();
    const { recorder } = await bench.consumer(
      { topics: [topic], heartbeatInterval: 200 },
      new Recorder(),
      driver,
    );
    const sent: Promise<unknown>[] = [];
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 50; index++) {
        sent.push(producer.send(record(topic, `${round}-${index}`, { partition: index % 2 })));
        if (index === 25) {
          await new Promise((resolve) => setImmediate(resolve));
          proxy.cut();
        }
      }
      await Promise.all(sent);
    }
    await eventually('all of them', () => recorder.records.length >= 250);
    expect(new Set(recorder.values).size).toBe(250);
    expect(recorder.records).toHaveLength(250);
    const watermarks = await bench.admin.watermarks(topic);
    expect(watermarks.reduce((sum, { high }) => sum + high, 0n)).toBe(250n);
    await producer.disconnect();
    await bench.close();
    await proxy.close();
  });

  it('has no request wait for the acknowledgement of another one’s packet', async () => {
    const bench = new Bench();
    const delayed = new Set<unknown>();
    class WatchedSocket extends Socket {
      override setNoDelay(noDelay?: boolean): this {
        if (noDelay === true) delayed.delete(this);
        return super.setNoDelay(noDelay);
      }
    }
    const driver = new KafkajsDriver(
      {
        brokers: brokers(),
        socketFactory: ({ host, port, onConnect }) => {
          const socket = new WatchedSocket();
          delayed.add(socket);
          return socket.connect({ host, port }, onConnect);
        },
      },
      systemClock,
      silentLog,
    );
    const topic = await bench.topic();
    const producer = driver.createProducer();
    await producer.connect();
    await producer.send(record(topic, 'x'));
    expect([...delayed]).toEqual([]);
    await producer.disconnect();
    await bench.close();
  });

  it('tries a produce for half a minute, long enough for another leader, and for less while it closes', async () => {
    // Twenty times as fast: what counts is how often it is tried.
    const clock: Clock = {
      ...systemClock,
      setTimeout: (callback, milliseconds) => systemClock.setTimeout(callback, milliseconds / 20),
    };
    const bench = new Bench();
    const topic = await bench.topic();
    const proxy = await Proxy.open();
    const { port } = proxy;
    const { createConnection } = await import('node:net');
    const driver = new KafkajsDriver(
      {
        brokers: [`127.0.0.1:${port}`],
        socketFactory: ({ onConnect }) => createConnection({ host: '127.0.0.1', port }, onConnect),
      },
      clock,
      silentLog,
    );
    const producers = [driver.createProducer(), driver.createProducer()] as const;
    for (const producer of producers) {
      await producer.connect();
      await producer.send(record(topic, 'before'));
    }
    await proxy.close();
    const sent = producers.map((producer) => producer.send(record(topic, 'nobody is there')));
    const closed = producers[1].disconnect();
    await expect(sent[1]).rejects.toThrow(/after 6 attempts/);
    await closed;
    await expect(sent[0]).rejects.toThrow(/after 13 attempts/);
    await producers[0].disconnect();
    await bench.close();
  });

  it('lends out an object of the shape of kafkajs’ consumer', async () => {
    const bench = new Bench();
    const topic = await bench.topic(2);
    const producer = await bench.producer();
    const groupId = bench.group();
    const consumer = bench.driver.createConsumer({
      groupId,
      topics: [topic],
      fromBeginning: true,
      heartbeatInterval: 50,
    });
    const native = consumer.native as Consumer;
    const seen: string[] = [];
    native.on(native.events.GROUP_JOIN, ({ type, payload }) => void seen.push(`${type} ${payload.isLeader}`));
    native.on(native.events.HEARTBEAT, ({ type }) => void seen.push(type));
    expect(() => native.on('consumer.nonsense' as never, () => undefined)).toThrow(UnsupportedError);
    const recorder = new Recorder();
    await consumer.start(recorder);
    await eventually('events', () => seen.includes('consumer.heartbeat'));
    expect(seen[0]).toBe('consumer.group_join true');
    for (const call of [native.connect(), native.run(), native.subscribe({ topic })]) {
      await expect(call).rejects.toThrow(WrongCallOrderError);
    }
    native.pause([{ topic }]);
    expect(native.paused()).toEqual([{ topic, partitions: [0, 1] }]);
    native.resume([{ topic, partitions: [1] }]);
    expect(native.paused()).toEqual([{ topic, partitions: [0] }]);
    native.resume([{ topic }]);
    await producer.sendAll(['a', 'b'].map((value) => record(topic, value, { partition: 1 })));
    await eventually('two', () => recorder.records.length === 2);
    native.seek({ topic, partition: 1, offset: '1' });
    await eventually('one more', () => recorder.records.length === 3);
    native.seek({ topic, partition: 1, offset: '-2' });
    await eventually('both again', () => recorder.records.length === 5);
    await native.commitOffsets([{ topic, partition: 1, offset: '2' }]);
    expect((await bench.admin.committed(groupId, topic))[1]!.offset).toBe(2n);
    expect(await native.describeGroup()).toMatchObject({ groupId, state: 'Stable', members: { length: 1 } });
    await native.disconnect();
    expect(recorder.statuses.at(-1)).toBe('stopped');
    await bench.close();
  });

  it('accepts kafkajs’ own assigners, and takes turns with kafkajs’ own members in one group', async () => {
    const bench = new Bench();
    const topic = await bench.topic(4);
    const groupId = bench.group();
    const roundRobin = kafkajs.PartitionAssigners.roundRobin;
    const { recorder } = await bench.consumer({
      ...{ topics: [topic], groupId, heartbeatInterval: 200 },
      native: { partitionAssigners: [roundRobin] },
    });
    expect(recorder.held).toHaveLength(4);
    const foreign = bench.driver.native.consumer({ groupId });
    await foreign.connect();
    await foreign.subscribe({ topics: [topic] });
    await foreign.run({ eachMessage: () => Promise.resolve() });
    await eventually('half of them', () => recorder.held.length === 2);
    await foreign.disconnect();
    await eventually('all of them', () => recorder.held.length === 4);
    await bench.close();
  });
});
