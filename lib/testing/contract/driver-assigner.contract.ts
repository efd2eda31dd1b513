import assert from 'node:assert/strict';
import type { AssignerMember, GroupAssigner } from '../../driver/driver.js';
import { partitionName, type TopicPartition } from '../../messages/record.js';
import type { DeclareTest } from './contract.js';
import type { DriverKit } from './driver-kit.js';
import { eventually } from './eventually.js';

interface Round {
  readonly members: readonly AssignerMember[];
  readonly partitions: ReadonlyMap<string, readonly number[]>;
}

/** Gives everything to the member whose user data is `take`, and notes what it was asked. */
class TakerAssigner implements GroupAssigner {
  readonly rounds: Round[] = [];
  readonly asked: (readonly string[])[] = [];
  readonly shares: (readonly TopicPartition[])[] = [];

  constructor(
    private readonly data: Buffer | null,
    readonly name = 'taker',
  ) {}

  userData(topics: readonly string[]): Buffer | null {
    this.asked.push(topics);
    return this.data;
  }

  assign(
    members: readonly AssignerMember[],
    partitions: ReadonlyMap<string, readonly number[]>,
  ): ReadonlyMap<string, readonly TopicPartition[]> {
    this.rounds.push({ members, partitions });
    const taker = members.find(({ userData }) => userData?.toString() === 'take');
    if (!taker) return new Map();
    const all = taker.topics.flatMap((topic) =>
      (partitions.get(topic) ?? []).map((partition) => ({ topic, partition })),
    );
    return new Map([[taker.memberId, all]]);
  }

  assigned(partitions: readonly TopicPartition[]): void {
    this.shares.push(partitions);
  }
}

const FOREIGN = Buffer.from([0xff, 0x00, 0xfe, 0x80]);

/** Partitions handed out by an assigner of the caller's. */
export function assignerContract(test: DeclareTest<DriverKit>): void {
  test("the leader's assigner gets every member's own topics and user data, and its verdict holds", async (kit) => {
    const [common, extra] = [await kit.topic(2), await kit.topic(3)];
    const groupId = kit.name();
    const idle = new TakerAssigner(FOREIGN);
    const taker = new TakerAssigner(Buffer.from('take'));
    const first = await kit.started({ topics: [common], groupId, assigners: [idle] });
    // Nobody takes anything yet: an empty assignment is an assignment.
    assert.deepEqual(first.assignments, [[]]);
    const second = await kit.started({ topics: [extra, common], groupId, assigners: [taker] });
    const all = [0, 1].map((partition) => partitionName({ topic: common, partition }));
    all.push(...[0, 1, 2].map((partition) => partitionName({ topic: extra, partition })));
    await eventually('everything is taken', () => String(second.owned) === String(all.sort()));
    assert.deepEqual(first.owned, []);

    const round = [...idle.rounds, ...taker.rounds].find(({ members }) => members.length === 2);
    const described = new Map(round!.members.map((member) => [member.memberId, member]));
    const [one, two] = [first, second].map((consumer) => described.get(consumer.driver.membership!.memberId));
    assert.deepEqual(one!.topics, [common]);
    assert.deepEqual(one!.userData, FOREIGN);
    assert.deepEqual([...two!.topics].sort(), [common, extra].sort());
    assert.deepEqual(two!.userData, Buffer.from('take'));
    assert.deepEqual([...round!.partitions.get(common)!].sort(), [0, 1]);
    assert.deepEqual([...round!.partitions.get(extra)!].sort(), [0, 1, 2]);
  });

  test('each member is asked before each join and told its own share after each rebalance', async (kit) => {
    const topic = await kit.topic(2);
    const groupId = kit.name();
    const taker = new TakerAssigner(Buffer.from('take'));
    const idle = new TakerAssigner(null);
    const first = await kit.started({ topics: [topic], groupId, assigners: [taker] });
    assert.deepEqual(taker.asked[0], [topic]);
    assert.deepEqual(taker.shares[0]!.map(({ partition }) => partition).sort(), [0, 1]);
    const second = await kit.started({ topics: [topic], groupId, assigners: [idle] });
    await eventually(
      'the first has everything again',
      () => first.assignments.length >= 2 && first.owned.length === 2,
    );
    assert.deepEqual(second.owned, []);
    assert.ok(taker.asked.length >= 2);
    assert.equal(taker.shares.at(-1)!.length, 2);
    assert.deepEqual(idle.shares.at(-1), []);
  });

  test('a member may have no user data', async (kit) => {
    const topic = await kit.topic();
    const assigner = new TakerAssigner(null);
    await kit.started({ topics: [topic], assigners: [assigner] });
    const userData = assigner.rounds[0]!.members[0]!.userData;
    assert.ok(userData === null || userData.length === 0);
  });

  test('partitions that are left out stay unassigned', async (kit) => {
    const topic = await kit.topic(3);
    const assigner: GroupAssigner = {
      name: 'frugal',
      userData: () => null,
      assign: (members) => new Map(members.map(({ memberId }) => [memberId, [{ topic, partition: 1 }]])),
    };
    const consumer = await kit.started({ topics: [topic], assigners: [assigner] });
    assert.deepEqual(consumer.owned, [`${topic}[1]`]);
    for (const partition of [0, 1]) await kit.produce(topic, [`p${partition}`], partition);
    await eventually('the record of the assigned one', () => consumer.records.length === 1);
    assert.deepEqual(consumer.values(), ['p1']);
  });

  test('members meet at a protocol that all of them know', async (kit) => {
    const topic = await kit.topic(2);
    const groupId = kit.name();
    const [liked, common] = [
      new TakerAssigner(null, 'liked'),
      new TakerAssigner(Buffer.from('take'), 'common'),
    ];
    const first = await kit.started({ topics: [topic], groupId, assigners: [liked, common] });
    assert.equal(liked.rounds.length, 1);
    assert.equal(common.rounds.length, 0);
    const other = new TakerAssigner(null, 'common');
    await kit.started({ topics: [topic], groupId, assigners: [other] });
    await eventually('the common one decides', () => first.owned.length === 2);
    assert.equal(liked.rounds.length, 1);
  });

  test('a default assigner knows who subscribed to what', async (kit) => {
    const [left, right] = [await kit.topic(2), await kit.topic(2)];
    const groupId = kit.name();
    const first = await kit.started({ topics: [left], groupId });
    const second = await kit.started({ topics: [right], groupId });
    await eventually('each holds its own', () => first.owned.length === 2 && second.owned.length === 2);
    assert.deepEqual(first.owned, [`${left}[0]`, `${left}[1]`]);
    assert.deepEqual(second.owned, [`${right}[0]`, `${right}[1]`]);
  });
}
