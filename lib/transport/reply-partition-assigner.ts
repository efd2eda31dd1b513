import type { AssignerMember, GroupAssigner } from '../driver/driver.js';
import type { TopicPartition } from '../messages/record.js';
import { systemClock, type Clock } from '../runtime/clock.js';

/** Per topic, the partition that a member has its replies sent to. */
export type ReplyPartitions = Readonly<Record<string, number>>;

/**
 * Gives each requester of a group a reply partition of its own, in the order in which they started, and lets it keep
 * that partition for as long as it is there: a reply to a request sent before a rebalance must find its sender.
 *
 * Protocol name and user data fit Nest's built-in `KafkaReplyPartitionAssigner`, so that members of both kinds can
 * share a group while an application is being moved, whoever leads. Built-in members say nothing of when they joined:
 * they come after everybody who does, by member id.
 *
 * One instance belongs to one membership: a client that reconnects is a new member and takes a new one.
 */
export class ReplyPartitionAssigner implements GroupAssigner {
  readonly name = 'NestReplyPartitionAssigner';
  private readonly joinedAt: number;
  private readonly id: string;
  private held: ReplyPartitions = {};
  private heldSince = 0;

  constructor(private readonly clock: Clock = systemClock) {
    this.joinedAt = clock.now();
    this.id = clock.uuid();
  }

  userData(): Buffer {
    const { held: previousAssignment, heldSince, joinedAt, id } = this;
    return Buffer.from(JSON.stringify({ previousAssignment, heldSince, joinedAt, id }), 'utf8');
  }

  assigned(partitions: readonly TopicPartition[]): void {
    this.held = replyPartitions(this.held, partitions);
    this.heldSince = this.clock.now();
  }

  assign(
    members: readonly AssignerMember[],
    partitions: ReadonlyMap<string, readonly number[]>,
  ): Map<string, TopicPartition[]> {
    const candidates = members.map(readCandidate).sort(byJoinOrder);
    for (const [topic, numbers] of partitions) {
      const subscribers = candidates.filter((candidate) => candidate.topics.has(topic));
      if (subscribers.length > 0) assignTopic(topic, numbers, subscribers);
    }
    return new Map(candidates.map(({ memberId, share }) => [memberId, share]));
  }
}

/**
 * The partition of each topic that replies are to be sent to: the one that was used before if it is still held, else
 * the lowest. Staying matters more than being the lowest: a departed member's lower partition may come as an extra
 * and go to the next newcomer, while replies are still on their way to the old one.
 */
export function replyPartitions(
  previous: ReplyPartitions,
  assigned: readonly TopicPartition[],
): ReplyPartitions {
  const current = Object.create(null) as Record<string, number>;
  for (const { topic, partition } of assigned) {
    const best = current[topic];
    const claim = claimOn(previous, topic);
    if (best !== undefined && best === claim) continue;
    if (best === undefined || partition === claim || partition < best) current[topic] = partition;
  }
  return current;
}

interface Candidate {
  readonly memberId: string;
  readonly topics: ReadonlySet<string>;
  /** Milliseconds since the epoch; `undefined` for built-in members and unreadable user data. */
  readonly joinedAt: number | undefined;
  readonly id: string;
  readonly claims: unknown;
  /** When its claims were made, milliseconds since the epoch. */
  readonly heldSince: number;
  readonly share: TopicPartition[];
}

function assignTopic(topic: string, numbers: readonly number[], subscribers: readonly Candidate[]): void {
  const owners = new Map<number, Candidate>();
  const existing = new Set(numbers);
  for (const candidate of subscribers) {
    const claim = claimOn(candidate.claims, topic);
    if (claim === undefined || !existing.has(claim)) continue;
    // Two members claim one partition when one of them was out of the group for a while: the later claim is the true one.
    const rival = owners.get(claim);
    if (rival === undefined || candidate.heldSince > rival.heldSince) owners.set(claim, candidate);
  }
  const settled = new Set(owners.values());
  const free = [...existing].filter((number) => !owners.has(number)).sort((a, b) => a - b);
  for (const candidate of subscribers) {
    if (settled.has(candidate)) continue;
    const number = free.shift();
    if (number === undefined) break;
    owners.set(number, candidate);
  }
  // The reply partition goes first: a built-in member takes what its leader lists as it comes, ours knows its own.
  for (const [number, candidate] of owners) candidate.share.push({ topic, partition: number });
  for (const number of free) leastBurdened(subscribers).share.push({ topic, partition: number });
}

/** The first in join order among those with the fewest partitions. */
function leastBurdened(candidates: readonly Candidate[]): Candidate {
  return candidates.reduce((least, next) => (next.share.length < least.share.length ? next : least));
}

function readCandidate({ memberId, topics, userData }: AssignerMember): Candidate {
  const data = readUserData(userData);
  const joinedAt = field(data, 'joinedAt');
  const heldSince = field(data, 'heldSince');
  const id = field(data, 'id');
  return {
    memberId,
    topics: new Set(topics),
    joinedAt: typeof joinedAt === 'number' && Number.isFinite(joinedAt) ? joinedAt : undefined,
    id: typeof id === 'string' ? id : '',
    claims: field(data, 'previousAssignment'),
    heldSince: typeof heldSince === 'number' && Number.isFinite(heldSince) ? heldSince : 0,
    share: [],
  };
}

/** Members may run anything: what is not JSON counts as nothing said. */
function readUserData(userData: Buffer | null): unknown {
  if (userData === null) return undefined;
  try {
    return JSON.parse(userData.toString('utf8'));
  } catch {
    return undefined;
  }
}

function claimOn(claims: unknown, topic: string): number | undefined {
  const claim = field(claims, topic);
  return typeof claim === 'number' ? claim : undefined;
}

function field(data: unknown, name: string): unknown {
  if (typeof data !== 'object' || data === null || !Object.hasOwn(data, name)) return undefined;
  return (data as Record<string, unknown>)[name];
}

function byJoinOrder(a: Candidate, b: Candidate): number {
  if (a.joinedAt !== b.joinedAt) {
    if (a.joinedAt === undefined) return 1;
    if (b.joinedAt === undefined) return -1;
    return a.joinedAt - b.joinedAt;
  }
  return compare(a.id, b.id) || compare(a.memberId, b.memberId);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
