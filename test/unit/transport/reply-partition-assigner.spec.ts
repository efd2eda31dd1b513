import type { AssignerMember } from '../../../lib/driver/driver.js';
import type { TopicPartition } from '../../../lib/messages/record.js';
import { ReplyPartitionAssigner, replyPartitions } from '../../../lib/transport/reply-partition-assigner.js';
import { ManualClock } from './manual-clock.js';

const leader = new ReplyPartitionAssigner();

function json(memberId: string, topics: string[], data: unknown): AssignerMember {
  return { memberId, topics, userData: Buffer.from(JSON.stringify(data)) };
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

function assign(members: AssignerMember[], topics: Record<string, number>): Record<string, string[]> {
  const partitions = new Map(Object.entries(topics).map(([topic, count]) => [topic, range(count)]));
  const shares = leader.assign(members, partitions);
  return Object.fromEntries(
    [...shares].map(([memberId, share]) => [memberId, share.map((p) => `${p.topic}:${p.partition}`)]),
  );
}

describe('handing out reply partitions', () => {
  it('goes by join order, not by name', () => {
    const members = [
      json('a', ['t'], { joinedAt: 30 }),
      json('b', ['t'], { joinedAt: 10 }),
      json('c', ['t'], { joinedAt: 20 }),
    ];
    expect(assign(members, { t: 3 })).toEqual({ b: ['t:0'], c: ['t:1'], a: ['t:2'] });
  });

  it('breaks ties by the id that each member announces', () => {
    const members = [json('a', ['t'], { joinedAt: 1, id: 'y' }), json('b', ['t'], { joinedAt: 1, id: 'x' })];
    expect(assign(members, { t: 2 })).toEqual({ b: ['t:0'], a: ['t:1'] });
  });

  it('lets everybody keep what they had, and spreads the rest', () => {
    const members = [
      json('new', ['t'], { joinedAt: 1, previousAssignment: {} }),
      json('old', ['t'], { joinedAt: 2, previousAssignment: { t: 0 } }),
      json('older', ['t'], { joinedAt: 3, previousAssignment: { t: 2 } }),
    ];
    expect(assign(members, { t: 5 })).toEqual({
      new: ['t:1', 't:3'],
      old: ['t:0', 't:4'],
      older: ['t:2'],
    });
  });

  it('leaves the last comers empty-handed where there are too few', () => {
    const members = [json('a', ['t'], { joinedAt: 1 }), json('b', ['t'], { joinedAt: 2 })];
    expect(assign(members, { t: 1 })).toEqual({ a: ['t:0'], b: [] });
  });

  it('gives members only topics that they subscribe to', () => {
    const members = [json('a', ['t', 'gone'], { joinedAt: 1 }), json('b', ['u'], { joinedAt: 2 })];
    expect(assign(members, { t: 2, u: 2 })).toEqual({ a: ['t:0', 't:1'], b: ['u:0', 'u:1'] });
  });

  it('believes the later of two claims: the other comes from before an eviction', () => {
    const members = [
      json('returning', ['t'], { joinedAt: 1, heldSince: 100, previousAssignment: { t: 0 } }),
      json('successor', ['t'], { joinedAt: 2, heldSince: 200, previousAssignment: { t: 0 } }),
    ];
    expect(assign(members, { t: 2 })).toEqual({ returning: ['t:1'], successor: ['t:0'] });
  });

  it.each([
    ['no user data', null],
    ['no JSON', Buffer.from([0, 1, 2, 255])],
    ['null', Buffer.from('null')],
    ['a list', Buffer.from('[1]')],
    ['wrong types', Buffer.from('{"previousAssignment":"x","joinedAt":"y","id":3,"heldSince":{}}')],
    ['claims of wrong types', Buffer.from('{"previousAssignment":{"t":"0","u":[0]}}')],
    ['partitions that do not exist', Buffer.from('{"previousAssignment":{"t":99}}')],
    ['half a partition', Buffer.from('{"previousAssignment":{"t":0.5}}')],
    ['a negative partition', Buffer.from('{"previousAssignment":{"t":-1}}')],
    ['names of Object', Buffer.from('{"__proto__":{"joinedAt":1},"previousAssignment":{"constructor":1}}')],
  ])('bears %s, and puts such a member last', (_, userData) => {
    const members = [{ memberId: '0', topics: ['t'], userData }, json('b', ['t'], { joinedAt: 5 })];
    expect(assign(members, { t: 2 })).toEqual({ b: ['t:0'], '0': ['t:1'] });
  });

  it('puts built-in members after ours, among them by member id, and honours their claims', () => {
    const members = [
      json('z', ['t'], { previousAssignment: {} }),
      json('y', ['t'], { previousAssignment: { t: 0 } }),
      json('x', ['t'], { joinedAt: 9 }),
    ];
    expect(assign(members, { t: 3 })).toEqual({ x: ['t:1'], y: ['t:0'], z: ['t:2'] });
  });

  it('announces what a built-in leader can read', () => {
    const clock = new ManualClock();
    const member = new ReplyPartitionAssigner(clock);
    expect(member.name).toBe('NestReplyPartitionAssigner');
    expect(JSON.parse(member.userData().toString())).toEqual({
      previousAssignment: {},
      heldSince: 0,
      joinedAt: clock.now(),
      id: 'id-1',
    });
    member.assigned([
      { topic: 't', partition: 3 },
      { topic: 't', partition: 1 },
    ]);
    expect(JSON.parse(member.userData().toString())).toMatchObject({ previousAssignment: { t: 1 } });
  });
});

describe('the partition that replies are sent to', () => {
  const on = (...partitions: number[]): TopicPartition[] =>
    partitions.map((partition) => ({ topic: 't', partition }));

  it.each([
    [{}, on(2, 1, 3), { t: 1 }],
    [{ t: 2 }, on(0, 2), { t: 2 }],
    [{ t: 2 }, on(2, 0), { t: 2 }],
    [{ t: 2 }, on(4, 3), { t: 3 }],
    [{ t: 0 }, [], {}],
  ])('before %j, assigned %j: %j', (previous, assigned, expected) => {
    expect({ ...replyPartitions(previous, assigned) }).toEqual(expected);
  });
});

describe('a group in which members come and go', () => {
  /** A linear congruential generator: the same seed gives the same story. */
  function generator(seed: number): (below: number) => number {
    let state = seed;
    return (below) => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * below);
    };
  }

  it.each(range(16))('never moves or shares a reply partition (seed %i)', (seed) => {
    const next = generator(seed + 1);
    const clock = new ManualClock();
    const counts: Record<string, number> = { a: 1 + next(5), b: 1 + next(5), c: 1 + next(5) };
    const members = new Map<
      string,
      { topics: string[]; assigner: ReplyPartitionAssigner; held: Record<string, number> }
    >();
    let names = 0;
    for (let round = 0; round < 60; round++) {
      clock.advance(next(3));
      if (next(3) > 0 || members.size === 0) {
        const topics = Object.keys(counts).filter(() => next(3) > 0);
        const assigner = new ReplyPartitionAssigner(clock);
        members.set(`m${next(1_000)}-${names++}`, { topics, assigner, held: {} });
      } else {
        members.delete([...members.keys()][next(members.size)]!);
      }
      if (next(10) === 0) counts['a']! += 1;

      const list = [...members].map(([memberId, { topics, assigner }]) => ({
        memberId,
        topics,
        userData: next(50) === 0 ? Buffer.from('garbage') : assigner.userData(),
      }));
      const garbled = new Set(
        list.filter(({ userData }) => String(userData) === 'garbage').map((m) => m.memberId),
      );
      const subscribed = [...new Set(list.flatMap(({ topics }) => topics))];
      const partitions = new Map(subscribed.map((topic) => [topic, range(counts[topic]!)]));
      const shares = leader.assign(list, partitions);

      const given = new Set<string>();
      expect([...shares.keys()].sort()).toEqual([...members.keys()].sort());
      for (const [memberId, share] of shares) {
        const member = members.get(memberId)!;
        for (const { topic, partition } of share) {
          expect(member.topics).toContain(topic);
          expect(partition).toBeLessThan(counts[topic]!);
          expect(given.has(`${topic}:${partition}`)).toBe(false);
          given.add(`${topic}:${partition}`);
        }
        const targets = replyPartitions(member.held, share);
        for (const [topic, partition] of Object.entries(member.held)) {
          if (!garbled.has(memberId)) expect(targets[topic]).toBe(partition);
        }
        member.held = { ...targets };
        member.assigner.assigned(share);
      }
      // Everything is given out, and nobody goes without while another has two of the same topic.
      for (const topic of subscribed) {
        expect([...given].filter((name) => name.startsWith(`${topic}:`))).toHaveLength(counts[topic]!);
        const held = [...shares].filter(([memberId]) => members.get(memberId)!.topics.includes(topic));
        const perMember = held.map(([, share]) => share.filter((p) => p.topic === topic).length);
        if (perMember.some((count) => count === 0)) expect(Math.max(...perMember)).toBe(1);
      }
    }
  });
});
