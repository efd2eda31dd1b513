import { Logger } from '@nestjs/common';
import { ServerKafka, type KafkaTransportOptions } from '../../../lib/index.js';
import { SOON_MS, within } from '../../../lib/testing/contract/eventually.js';
import { InMemoryKafka } from '../../../lib/testing/in-memory-kafka/in-memory-kafka.js';
import { BrokerFixture, brokers } from '../../support/broker-fixture.js';
import { eventually } from '../../support/eventually.js';

const fixture = new BrokerFixture();

beforeAll(async () => {
  Logger.overrideLogger(false);
  await fixture.connect();
});

afterAll(() => fixture.dispose());

function listen(server: ServerKafka): Promise<void> {
  return new Promise((resolve, reject) => {
    void server.listen((error) => (error ? reject(error as Error) : resolve()));
  });
}

async function createServer(options: Partial<KafkaTransportOptions> = {}, handle?: () => Promise<void>) {
  const topic = await fixture.topic('lifecycle');
  const group = fixture.group();
  const seen: unknown[] = [];
  const server = new ServerKafka({
    client: { brokers: brokers() },
    consumer: { groupId: group, maxWaitTimeInMs: 100 },
    subscribe: { fromBeginning: true },
    ...options,
  });
  server.addHandler(
    topic,
    async (data: unknown) => {
      await handle?.();
      seen.push(data);
    },
    true,
  );
  fixture.closing(server);
  const emit = (text: string) => fixture.produce({ topic, key: null, value: Buffer.from(text), headers: [] });
  return { server, topic, group, seen, emit, members: () => fixture.members(`${group}-server`) };
}

it('closes twice, also at once, and tolerates never having listened', async () => {
  const { server, members } = await createServer();
  await server.close();
  await listen(server);
  expect(await members()).toBe(1);
  await Promise.all([server.close(), server.close()]);
  await server.close();
  expect(await members()).toBe(0);
});

it('has the second close() wait for the first', async () => {
  let finish!: () => void;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  let running = false;
  const { server, seen, emit, topic, group } = await createServer({}, () => {
    running = true;
    return finished;
  });
  await listen(server);
  await emit('slow');
  await eventually(() => running);
  void server.close();
  let second = false;
  const closing = server.close().then(() => (second = true));
  await emit('wakes the loop');
  expect(second).toBe(false);
  finish();
  await closing;
  expect(seen).toEqual(['slow']);
  expect(await fixture.committed(group, topic)).toBe(1);
});

it('listens again after close(), and goes on where it was', async () => {
  const { server, seen, emit, group, topic } = await createServer();
  await listen(server);
  await emit('first');
  await eventually(() => seen.length === 1);
  await server.close();
  await emit('second');
  await listen(server);
  await eventually(() => seen.length === 2);
  await server.close();
  expect(seen).toEqual(['first', 'second']);
  expect(await fixture.committed(group, topic)).toBe(2);
});

it('refuses to listen twice, and goes on listening', async () => {
  const { server, seen, emit } = await createServer();
  await listen(server);
  await expect(listen(server)).rejects.toMatchObject({ code: 'KT_WRONG_CALL_ORDER' });
  await emit('still here');
  await eventually(() => seen.length === 1);
  expect(server.unwrap()).toHaveLength(3);
});

it.each([0, 5, 10, 12, 15, 20, 25, 30, 40, 85, 100, 250])(
  'ends a start when it is closed %i ms into it, and leaves nothing',
  async (delay) => {
    const { server, members, seen, emit } = await createServer();
    const started = listen(server).then(
      () => 'started',
      (error: { code: string }) => error.code,
    );
    const until = performance.now() + delay;
    await eventually(() => performance.now() >= until);
    await server.close();
    expect(['started', 'KT_CLOSED']).toContain(await started);
    expect(await members()).toBe(0);
    await listen(server);
    await emit('works');
    await eventually(() => seen.length === 1);
  },
);

it('closes soon while it tries to reach a broker', async () => {
  const { server } = await createServer({ client: { brokers: ['127.0.0.1:1'] } });
  const started = listen(server).catch((error: { code: string }) => error.code);
  await new Promise((resolve) => setImmediate(resolve));
  await within('the close', server.close(), SOON_MS);
  expect(await started).toMatch(/^KT_/);
});

it('waits for a start-up probe before it is closed', async () => {
  const kafka = new InMemoryKafka();
  const { server } = await createServer({ driver: kafka });
  const { STARTUP_PROBE } = await import('../../../lib/transport/startup-probe.js');
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  server.addHandler('probe', () => opened as Promise<never>, true, { [STARTUP_PROBE]: true } as never);
  const started = listen(server).catch((error: { code: string }) => error.code);
  const closed = server.close();
  open();
  await closed;
  expect(await started).toBe('KT_CLOSED');
});
