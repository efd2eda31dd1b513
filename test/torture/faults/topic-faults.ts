import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IHeaders, Message } from 'kafkajs';
import { HOSTILE_HEADER } from '../work.js';
import type { Fault, Scene } from './fault.js';
import { Turns } from '../turns.js';

const MOST_PARTITIONS = 24;
const WAVE = 60;

const recreations = new Turns();

const topicRecreate: Fault = {
  name: 'topic-recreate',
  about: 'a topic deleted and made anew under the same name, with new records at the old offsets',
  run: ({ ground, load }, dice) =>
    recreations.take(async () => {
      await sleep(dice.between(0, 1_000));
      // From here on its records may be gone, whatever comes in between.
      ground.wave++;
      await ground.admin.deleteTopics({ topics: [ground.topics.volatile] });
      await ground.untilDeleted(ground.topics.volatile);
      await ground.createVolatileTopic();
      await load.produceVolatile(ground.wave, WAVE);
      return `wave ${ground.wave}`;
    }),
};

const addPartitions: Fault = {
  name: 'add-partitions',
  about: 'partitions added to the topic of events',
  run: async ({ ground }) => {
    if (ground.partitions >= MOST_PARTITIONS) return `there are ${ground.partitions} already`;
    await ground.addPartitions(1);
    return `${ground.partitions} now`;
  },
};

const rewind: Fault = {
  name: 'rewind',
  about: 'the group stopped, set back to offset 0, and started',
  run: async ({ ground }) => {
    await ground.fleet.withoutInstances(() => ground.rewind());
    return 'everything comes again';
  },
};

const groupDelete: Fault = {
  name: 'group-delete',
  about: 'the group stopped, deleted with its offsets, and started',
  run: async ({ ground }) => {
    await ground.fleet.withoutInstances(() => ground.deleteGroup());
    return 'everything comes again';
  },
};

const duplicateKeys: Fault = {
  name: 'duplicate-keys',
  about: 'events again under their idempotency keys, in all partitions at once',
  run: async ({ ground, load }, dice) => {
    let count = 0;
    for (let n = 0; n < 5; n++) {
      const draft = load.recentEvent(dice);
      if (!draft) continue;
      await Promise.all(
        Array.from({ length: ground.partitions }, (_, partition) => load.repeat(draft, partition)),
      );
      count++;
    }
    return `${count} events`;
  },
};

/** Records that no honest producer writes. Each is to end somehow, and to keep nothing else from its end. */
const hostile: Record<string, (scene: Scene, key: string) => { message: Message; request?: boolean }> = {
  undecodable: () => ({ message: { key: 'k', value: Buffer.from([0xff, 0xfe, 0x7b, 0x80, 0x00]) } }),
  tombstone: () => ({ message: { key: 'k', value: null } }),
  empty: () => ({ message: { key: null, value: Buffer.alloc(0) } }),
  'broken-json': () => ({ message: { key: 'k', value: '{"id": "x", "key": ' } }),
  prototype: () => ({
    message: {
      key: '__proto__',
      value: '{"__proto__":{"id":1},"constructor":null}',
      headers: { constructor: 'x', __proto__x: 'y' },
    },
  }),
  'many-headers': () => ({
    message: {
      key: 'k',
      value: '{}',
      headers: Object.fromEntries(Array.from({ length: 3_000 }, (_, n) => [`header-${n}`, String(n)])),
    },
  }),
  'repeated-headers': () => ({
    message: {
      key: 'k',
      value: '{}',
      headers: { 'x-twice': ['a', 'b', 'c'], 'idempotency-key': [randomBytes(8), randomBytes(8)] },
    },
  }),
  'binary-headers': () => ({
    message: { key: 'k', value: '{}', headers: { 'x-bytes': Buffer.from([0xff, 0x00, 0xc3]) } },
  }),
  large: () => ({ message: { key: 'k', value: Buffer.alloc(700_000, '[') } }),
  'empty-key': () => ({ message: { key: 'k', value: '{}', headers: { 'idempotency-key': '' } } }),
  'long-key': () => ({
    message: { key: 'k', value: '{}', headers: { 'idempotency-key': 'x'.repeat(2_000) } },
  }),
  'forged-key': (_scene, key) => ({
    message: { key: 'k', value: '"another content"', headers: { 'idempotency-key': key } },
  }),
  'forged-reply-address': () => ({
    request: true,
    message: {
      key: 'k',
      value: '{}',
      headers: {
        kafka_correlationId: Buffer.from([0xff, 0x00]),
        kafka_replyTopic: 'there is no such topic!',
        kafka_replyPartition: '99999',
      },
    },
  }),
  'forged-reply-partition': ({ ground }) => ({
    request: true,
    message: {
      key: 'k',
      value: '{}',
      headers: {
        kafka_correlationId: '{"a":1}',
        kafka_replyTopic: ground.replyTopic,
        kafka_replyPartition: '-7',
      },
    },
  }),
};

const poison: Fault = {
  name: 'poison',
  about: 'hostile records: undecodable, tombstones, thousands of headers, forged keys and reply addresses, …',
  run: async (scene, dice) => {
    const { ground, load } = scene;
    const kinds = dice.shuffled(Object.keys(hostile)).slice(0, 6);
    for (const kind of kinds) {
      // A key of a message that is further back in the same partition: it was there first.
      const draft = load.recentEvent(dice);
      if (kind === 'forged-key' && !draft?.idempotencyKey) continue;
      const { message, request = false } = hostile[kind]!(scene, draft?.idempotencyKey ?? '');
      const headers: IHeaders = { ...message.headers, [HOSTILE_HEADER]: kind };
      const partition = request
        ? 0
        : kind === 'forged-key'
          ? load.partitionOf(draft!.work.key)
          : dice.between(0, 3);
      const key = kind === 'forged-key' ? draft!.work.key : message.key;
      await load.produceRaw(request ? ground.topics.requests : ground.topics.events, {
        ...message,
        key,
        partition,
        headers,
      });
    }
    return kinds.join(', ');
  },
};

export const topicFaults: readonly Fault[] = [
  topicRecreate,
  addPartitions,
  groupDelete,
  rewind,
  duplicateKeys,
  poison,
];
