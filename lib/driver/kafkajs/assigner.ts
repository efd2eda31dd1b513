import type { Assigner } from 'kafkajs';
import type { TopicPartition } from '../../messages/record.js';
import type { AssignerMember, GroupAssigner } from '../driver.js';
import type { KafkajsDoor } from './kafkajs-internals.js';
import { byTopic } from './offset-requests.js';
import { WireReader, WireWriter } from './wire.js';

/** An assigner as the group protocol sees it: names and bytes. */
export interface ProtocolAssigner {
  readonly name: string;
  /** What this member tells the leader. */
  metadata(topics: readonly string[]): Buffer;
  /** On the leader: bytes for each member. `ownTopics` is the leader's subscription. */
  assign(
    members: readonly { memberId: string; metadata: Buffer }[],
    partitions: ReadonlyMap<string, readonly number[]>,
    ownTopics: readonly string[],
  ): Promise<{ memberId: string; assignment: Buffer }[]>;
  assigned(partitions: readonly TopicPartition[]): void;
}

/** Version 0 is understood by every client, and later versions only append to it. */
const VERSION = 0;

export function fromGroupAssigner(assigner: GroupAssigner): ProtocolAssigner {
  return {
    name: assigner.name,
    metadata: (topics) => encodeSubscription(topics, assigner.userData(topics)),
    assign(members, partitions) {
      const shares = assigner.assign(members.map(decodeMember), partitions);
      return Promise.resolve(
        members.map(({ memberId }) => ({
          memberId,
          assignment: encodeAssignment(shares.get(memberId) ?? []),
        })),
      );
    },
    assigned: (partitions) => assigner.assigned?.(partitions),
  };
}

/** For the user's own `consumer.partitionAssigners`: called as kafkajs would, with the cluster that `door` handed out. */
export function fromKafkajsAssigner(
  assigner: Assigner,
  door: Pick<KafkajsDoor, 'showPartitions'>,
): ProtocolAssigner {
  return {
    name: assigner.name,
    metadata: (topics) => assigner.protocol({ topics: [...topics] }).metadata,
    async assign(members, partitions, ownTopics) {
      door.showPartitions(partitions);
      const shares = await assigner.assign({
        members: members.map(({ memberId, metadata }) => ({ memberId, memberMetadata: metadata })),
        topics: [...ownTopics],
      });
      const bytes = new Map(shares.map(({ memberId, memberAssignment }) => [memberId, memberAssignment]));
      return members.map(({ memberId }) => ({
        memberId,
        assignment: bytes.get(memberId) ?? encodeAssignment([]),
      }));
    },
    assigned() {},
  };
}

/**
 * Deals partitions out in turn to the members that subscribe to their topic. Named as in kafkajs, so that members of
 * either kind can share a group.
 */
export const roundRobinAssigner: GroupAssigner = {
  name: 'RoundRobinAssigner',
  userData: () => null,
  assign(members, partitions) {
    const sorted = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
    const shares = new Map<string, TopicPartition[]>(sorted.map(({ memberId }) => [memberId, []]));
    let turn = 0;
    for (const [topic, numbers] of [...partitions].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const takers = sorted.filter((member) => member.topics.includes(topic));
      if (takers.length === 0) continue;
      for (const partition of numbers)
        shares.get(takers[turn++ % takers.length]!.memberId)!.push({ topic, partition });
    }
    return shares;
  },
};

/** Every topic that a member subscribes to, in whatever format the member describes itself. */
export function subscribedTopics(members: readonly { memberId: string; metadata: Buffer }[]): string[] {
  return [...new Set(members.flatMap((member) => decodeMember(member).topics))];
}

/** Foreign or damaged bytes make a member without topics, never an error. */
function decodeMember({ memberId, metadata }: { memberId: string; metadata: Buffer }): AssignerMember {
  try {
    const reader = new WireReader(metadata);
    reader.int16(); // version
    const topics = reader.array(() => reader.string() ?? '');
    const userData = reader.remaining >= 4 ? reader.bytes32() : null;
    return { memberId, topics, userData };
  } catch {
    return { memberId, topics: [], userData: null };
  }
}

function encodeSubscription(topics: readonly string[], userData: Buffer | null): Buffer {
  const writer = new WireWriter().int16(VERSION);
  writer.array(topics, (topic) => writer.string(topic));
  return (userData === null ? writer.int32(-1) : writer.bytes32(userData)).buffer;
}

function encodeAssignment(partitions: readonly TopicPartition[]): Buffer {
  const writer = new WireWriter().int16(VERSION);
  writer.array(byTopic(partitions), ([topic, ofTopic]) => {
    writer.string(topic).array(ofTopic, ({ partition }) => writer.int32(partition));
  });
  return writer.int32(-1).buffer;
}

/** A leader may leave a member without any bytes: nothing for it. */
export function decodeAssignment(bytes: Buffer): TopicPartition[] {
  if (bytes.length < 6) return [];
  const reader = new WireReader(bytes);
  reader.int16(); // version
  return reader
    .array(() => {
      const topic = reader.string() ?? '';
      return reader.array(() => ({ topic, partition: reader.int32() }));
    })
    .flat();
}
