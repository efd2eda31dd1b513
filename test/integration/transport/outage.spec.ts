import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Module, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import type { Consumer, Kafka } from 'kafkajs';
import { firstValueFrom } from 'rxjs';
import type { Servers } from '../../../sample/servers/index.js';
import { ClientKafkaProxy, ServerKafka } from '../../../lib/index.js';
import { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { eventually } from '../../support/eventually.js';
import { Setting } from '../../crash/support/setting.js';

// The outage is longer than the session of the group, whose members have to find together again.
const SESSION = 6_000;
const OUTAGE = 60_000;
const REQUESTS = 20;

describe('The transport by itself, while its only broker is away', () => {
  let setting: Setting;
  let servers: Servers;
  let app: INestMicroservice;
  let server: ServerKafka;
  let client: ClientKafkaProxy;
  const release = deferred();
  let asked = 0;
  let returned = 0;
  const events: string[] = [];
  const statuses: Record<'server' | 'client', string[]> = { server: [], client: [] };

  @Controller()
  class Handlers {
    @MessagePattern('ask')
    async ask(@Payload() value: string) {
      asked++;
      await release.promise;
      returned++;
      return `re: ${value}`;
    }

    @EventPattern('event')
    event(@Payload() value: string) {
      events.push(value);
    }
  }

  @Module({ controllers: [Handlers] })
  class App {}

  beforeAll(async () => {
    setting = await Setting.open();
    servers = await setting.ownServers('kafka');
    const connection = {
      client: { brokers: servers.brokers, retry: { initialRetryTime: 100, maxRetryTime: 1_000 } },
    };
    const consumer = { groupId: 'outage', sessionTimeout: SESSION, heartbeatInterval: 500 };
    server = new ServerKafka({
      ...connection,
      consumer,
      run: { autoCommitInterval: 50 },
      subscribe: { fromBeginning: true },
    });
    app = await NestFactory.createMicroservice(App, { strategy: server, logger: false });
    app.status.subscribe((status) => statuses.server.push(status));
    await app.listen();
    client = new ClientKafkaProxy({ ...connection, consumer, requestTimeout: 180_000 });
    client.status.subscribe((status) => statuses.client.push(status));
    client.subscribeToResponseOf('ask');
    await client.connect();
  });

  afterAll(async () => {
    release.resolve();
    await client?.close();
    await app?.close();
    await setting.close();
  });

  async function committed(topic: string): Promise<bigint> {
    const { brokers } = servers;
    const admin = new KafkajsDriver({ brokers }, systemClock, silentLog).createAdmin();
    try {
      await admin.connect();
      return (await admin.committed('outage-server', topic))[0]!.offset;
    } finally {
      await admin.disconnect();
    }
  }

  it('answers afterwards what it was asked before, holds the offsets until then, and goes on', async () => {
    expect(app).toBeDefined();
    const replies = Array.from({ length: REQUESTS }, (_, n) =>
      firstValueFrom(client.send<string>('ask', `${n}`)),
    );
    // One handler at a time in the one partition: the rest wait behind it.
    await eventually(() => asked === 1);
    await servers.kafka.stop('kill');
    release.resolve();
    await eventually(() => returned > 0);
    let isAnswered = false;
    void Promise.any(replies).then(() => (isAnswered = true));
    const event = firstValueFrom(client.emit('event', 'sent in the outage'));
    event.catch(() => undefined);
    await sleep(OUTAGE);
    expect(isAnswered).toBe(false);
    expect(server.gate).toBe('closed');
    for (const told of Object.values(statuses)) expect(told.at(-1)).toBe('disconnected');
    const unwrapped = app.unwrap<readonly unknown[]>();
    await servers.kafka.start();
    // Nothing was acknowledged, so nothing may have been committed; later it is, with the replies.
    expect(await Promise.all(replies)).toEqual(replies.map((_, n) => `re: ${n}`));
    await eventually(async () => (await committed('ask')) === BigInt(REQUESTS));
    await event.catch(() => undefined);
    await eventually(async () => {
      await firstValueFrom(client.emit('event', 'after'));
      return events.includes('after');
    });
    expect(await firstValueFrom(client.send('ask', 'more'))).toBe('re: more');
    expect(client.pendingRequests).toBe(0);
    expect(server.gate).toBe('open');
    for (const told of Object.values(statuses)) {
      await eventually(() => told.at(-1) === 'connected');
      expect(told).not.toContain('stopped');
    }
    // The same objects as before, and they work.
    const [kafka, consumer] = app.unwrap<[Kafka, Consumer]>();
    expect([kafka, consumer]).toEqual([unwrapped[0], unwrapped[1]]);
    expect((await consumer.describeGroup()).state).toBe('Stable');
  });
});
