import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import type { KafkaDeliveryContext } from '../../../lib/index.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { eventually } from '../../support/eventually.js';
import { KafkaApps, type KafkaApp } from '../../support/kafka-app.js';

const SESSION = 6_000;
/** More than the transport holds of one partition. */
const MANY = 3_000;

const numbers = (from: number, count: number) => Array.from({ length: count }, (_, n) => from + n);

describe('Consumption on a real broker', () => {
  const apps = new KafkaApps();

  beforeAll(() => apps.connect());
  afterAll(() => apps.dispose());

  /** Numbers as text, in order, to one partition. */
  const emit = (topic: string, partition: number, values: readonly number[]) =>
    apps.produce(
      ...values.map((value) => ({
        topic,
        partition,
        key: null,
        value: Buffer.from(`${value}`),
        headers: [],
      })),
    );

  const memberOf = ({ server }: KafkaApp) => {
    const [, consumer] =
      server.unwrap<[unknown, { describeGroup(): Promise<{ members: { memberId: string }[] }> }]>();
    return consumer.describeGroup().then(({ members }) => members.map(({ memberId }) => memberId));
  };

  it('goes on in other partitions, and stays in its group, while one is stuck beyond the session', async () => {
    const topic = await apps.topic('stuck', { partitions: 2 });
    const release = deferred();
    const seen: number[][] = [[], []];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      async run(@Payload() value: string, @Ctx() context: KafkaDeliveryContext) {
        const partition = context.getPartition();
        if (partition === 0 && value === '0') await release.promise;
        seen[partition]!.push(Number(value));
      }
    }
    const consumer = { groupId: apps.group(), sessionTimeout: SESSION, heartbeatInterval: 500 };
    const app = await apps.start({ controllers: [Handlers], server: { consumer } });
    const statuses: string[] = [];
    app.server.status.subscribe((status) => statuses.push(status));
    const before = await memberOf(app);
    await emit(topic, 0, numbers(0, MANY));
    const stuckSince = performance.now();
    // One after the other, for longer than a session lasts: each is handled although the neighbour is full.
    for (let next = 0; performance.now() - stuckSince < SESSION * 1.3; next += 50) {
      await emit(topic, 1, numbers(next, 50));
      await eventually(() => seen[1]!.length === next + 50);
    }
    expect(seen[0]).toEqual([]);
    expect(await memberOf(app)).toEqual(before);
    release.resolve();
    await eventually(() => seen[0]!.length >= MANY);
    expect(seen[0]).toEqual(numbers(0, MANY));
    expect(seen[1]).toEqual(numbers(0, seen[1]!.length));
    expect(statuses).not.toContain('rebalancing');
  });

  it('hands partitions over in order, each record handled once, when servers join and leave', async () => {
    const topic = await apps.topic('handover', { partitions: 4 });
    const groupId = apps.group();
    const seen: number[][] = [[], [], [], []];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      async run(@Payload() value: string, @Ctx() context: KafkaDeliveryContext) {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
        seen[context.getPartition()]!.push(Number(value));
      }
    }
    const start = () =>
      apps.start({ controllers: [Handlers], server: { consumer: { groupId, heartbeatInterval: 200 } } });
    await start();
    let emitted = 0;
    let isOver = false;
    const emitting = (async () => {
      while (!isOver) {
        for (const partition of [0, 1, 2, 3]) await emit(topic, partition, numbers(emitted, 20));
        emitted += 20;
        await eventually(() => seen.some((values) => values.length > emitted - 200));
      }
    })();
    const progress = () => seen.reduce((sum, values) => sum + values.length, 0);
    const goOn = async () => {
      const wanted = progress() + 400;
      await eventually(() => progress() >= wanted);
    };
    await goOn();
    const second = await start();
    await goOn();
    await start();
    await goOn();
    await second.app.close();
    await goOn();
    isOver = true;
    await emitting;
    await eventually(() => seen.every((values) => values.length >= emitted));
    for (const values of seen) expect(values).toEqual(numbers(0, emitted));
  });

  it('reads partitions that are added, and a topic that is deleted and made anew, from their first record', async () => {
    const topic = await apps.topic('changing');
    const seen: string[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      run(@Payload() value: string) {
        seen.push(value);
      }
    }
    const consumer = { groupId: apps.group(), metadataMaxAge: 300, heartbeatInterval: 200 };
    const { group } = await apps.start({
      controllers: [Handlers],
      server: { consumer, subscribe: { fromBeginning: false } },
    });
    await emit(topic, 0, [1]);
    await eventually(() => seen.length === 1);
    const admin = apps.driver.createAdmin();
    await admin.createPartitions(topic, 3);
    const producer = apps.driver.createProducer();
    await producer.connect();
    for (const partition of [1, 2]) {
      await producer.send({
        topic,
        partition,
        key: null,
        value: Buffer.from(`added ${partition}`),
        headers: [],
      });
    }
    await eventually(() => seen.length === 3);
    expect(seen.slice(1).sort()).toEqual(['added 1', 'added 2']);

    await apps.consumed(group, topic, 1);
    await admin.deleteTopics([topic]);
    await admin.createTopics([{ topic, partitions: 1 }]);
    const anew = Array.from({ length: 400 }, (_, n) => `new ${n}`);
    await producer.sendAll(
      anew.map((value) => ({ topic, partition: 0, key: null, value: Buffer.from(value), headers: [] })),
    );
    await eventually(() => seen.length >= 403);
    expect(seen.slice(3)).toEqual(anew);
    await apps.consumed(group, topic, 400);
    await producer.disconnect();
    await admin.disconnect();
  });
});
