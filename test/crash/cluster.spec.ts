import { Controller, Module, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import { firstValueFrom } from 'rxjs';
import { ClientKafkaProxy, kafkaServer } from '../../lib/index.js';
import { Connections } from '../../lib/driver/kafkajs/connections.js';
import { FIND_COORDINATOR } from '../../lib/driver/kafkajs/group-requests.js';
import { KafkajsDriver } from '../../lib/driver/kafkajs/kafkajs-driver.js';
import { systemClock } from '../../lib/runtime/clock.js';
import { silentLog } from '../../lib/runtime/log.js';
import type { ServerControl, Servers } from '../../sample/servers/index.js';
import { eventually } from '../support/eventually.js';
import { Setting } from './support/setting.js';
import { readTopics } from './support/topic-reader.js';

const PARTITIONS = 3;
const PATIENCE = 90_000;

describe('On three brokers, in mid-stream', () => {
  let setting: Setting;
  let cluster: Servers;
  let kafka: Kafka;
  let admin: Admin;
  let connections: Connections;
  let app: INestMicroservice;
  let client: ClientKafkaProxy;
  /** What was handled of each partition, in this order. */
  const handled: number[][] = Array.from({ length: PARTITIONS }, () => []);
  const statuses: string[] = [];

  @Controller()
  class Handlers {
    @EventPattern<string>('events')
    event(@Payload() { partition, n }: { partition: number; n: number }) {
      handled[partition]!.push(n);
    }

    @MessagePattern('ask')
    ask(@Payload() value: string) {
      return `re: ${value}`;
    }
  }

  @Module({ controllers: [Handlers] })
  class App {}

  beforeAll(async () => {
    setting = await Setting.open();
    cluster = await setting.ownCluster();
    const { brokers } = cluster;
    kafka = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING });
    admin = kafka.admin();
    await admin.connect();
    const topics = new KafkajsDriver({ brokers }, systemClock, silentLog).createAdmin();
    await topics.connect();
    await topics.createTopics(
      ['events', 'ask', 'ask.reply'].map((topic) => ({
        topic,
        partitions: PARTITIONS,
        replicationFactor: 3,
      })),
    );
    await topics.disconnect();
    connections = new Connections(kafka, undefined, systemClock);
    await connections.connect();
    const options = {
      client: { brokers },
      consumer: { groupId: 'moves', sessionTimeout: 10_000, heartbeatInterval: 500 },
      run: { autoCommitInterval: 50 },
      subscribe: { fromBeginning: true },
    };
    const server = kafkaServer(options);
    app = await NestFactory.createMicroservice(App, { ...server, logger: false });
    app.status.subscribe((status) => statuses.push(status));
    await app.listen();
    client = new ClientKafkaProxy({ ...options, requestTimeout: PATIENCE });
    client.subscribeToResponseOf('ask');
    await client.connect();
  });

  afterAll(async () => {
    await client?.close();
    await app?.close();
    await connections?.disconnect();
    await admin?.disconnect();
    await setting.close();
  });

  /** @param nodeId from 1 */
  function nodeOf(nodeId: number): ServerControl {
    return cluster.kafkaNodes[nodeId - 1]!;
  }

  async function coordinator(groupId: string): Promise<number> {
    return (await connections.sendToAny(FIND_COORDINATOR, { groupId })).nodeId;
  }

  async function leader(topic: string, partition: number): Promise<number> {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0]!.partitions.find(({ partitionId }) => partitionId === partition)!.leader;
  }

  /** Every replica is in sync again, so that another node may go. */
  async function whole(): Promise<boolean> {
    const { topics } = await admin.fetchTopicMetadata({
      topics: ['events', 'ask', 'ask.reply', '__consumer_offsets'],
    });
    return topics.every(({ partitions }) => partitions.every(({ isr }) => isr.length === 3));
  }

  let sent = 0;

  /** Emits and asks without a pause until told to stop; resolves when all is acknowledged and answered. */
  function stream(): () => Promise<void> {
    let isOver = false;
    const asker = async (name: string) => {
      for (let n = 0; !isOver; n++) {
        const question = `${name}-${n}`;
        expect(await firstValueFrom(client.send<string>('ask', question))).toBe(`re: ${question}`);
      }
    };
    const emitter = async () => {
      while (!isOver) {
        const n = sent++;
        const emits = Array.from({ length: PARTITIONS }, (_, partition) =>
          firstValueFrom(client.emit('events', { value: { partition, n }, partition })),
        );
        await Promise.all(emits);
      }
    };
    const work = Promise.all([emitter(), ...Array.from({ length: 2 }, (_, n) => asker(`${sent}-${n}`))]);
    work.catch(() => undefined);
    return async () => {
      isOver = true;
      await work;
    };
  }

  async function goesOn(what: () => Promise<void>): Promise<void> {
    const stop = stream();
    const progress = async () => {
      const before = sent;
      const seen = handled[0]!.length;
      await eventually(() => sent > before + 20 && handled[0]!.length > seen + 20, PATIENCE);
    };
    await progress();
    await what();
    await progress();
    await stop();
    await expectNothingLost();
  }

  async function expectNothingLost(): Promise<void> {
    const all = Array.from({ length: sent }, (_, n) => n);
    const stored = await readTopics(kafka, ['events']);
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const distinct = () => [...new Set(handled[partition])];
      await eventually(() => distinct().length === sent, PATIENCE);
      // First seen in order: what comes again comes from an offset that was not committed yet.
      expect(distinct()).toEqual(all);
      // The producer is idempotent: what a dead leader had taken is not appended again under its successor.
      const ofPartition = stored.filter((record) => record.partition === partition);
      expect(ofPartition.map(({ value }) => (JSON.parse(value) as { n: number }).n)).toEqual(all);
    }
    await eventually(async () => {
      const [topic] = await admin.fetchOffsets({ groupId: 'moves-server', topics: ['events'] });
      return topic!.partitions.every(({ offset }) => offset === String(sent));
    }, PATIENCE);
    expect(client.pendingRequests).toBe(0);
    expect(statuses.at(-1)).toBe('connected');
  }

  it.each(['moves-server', 'moves-client'])(
    'loses the coordinator of %s: all goes on, nothing is lost',
    async (groupId) => {
      await eventually(whole, PATIENCE);
      const holder = nodeOf(await coordinator(groupId));
      await goesOn(() => holder.stop('kill'));
      await holder.start();
    },
  );

  it('loses the leader of a partition that is read, asked and answered in', async () => {
    await eventually(whole, PATIENCE);
    const nodeId = await leader('events', 0);
    const node = nodeOf(nodeId);
    await goesOn(async () => {
      await node.stop('kill');
      await eventually(async () => (await leader('events', 0)) !== nodeId, PATIENCE);
    });
    await node.start();
  });

  it('is restarted node by node, in order', async () => {
    await goesOn(async () => {
      for (const nodeId of [1, 2, 3]) {
        await eventually(whole, PATIENCE);
        await nodeOf(nodeId).stop('fast');
        await nodeOf(nodeId).start();
      }
    });
  });
});
