import kafkajs from 'kafkajs';
import {
  decodeAssignment,
  fromGroupAssigner,
  roundRobinAssigner,
  subscribedTopics,
} from '../../../../lib/driver/kafkajs/assigner.js';
import type { AssignerMember } from '../../../../lib/driver/driver.js';

const { MemberMetadata, MemberAssignment } = kafkajs.AssignerProtocol;

describe('assigners on the wire', () => {
  const assigner = fromGroupAssigner({ ...roundRobinAssigner, userData: () => Buffer.from('mine') });

  it('describe a member so that kafkajs can read it', () => {
    const decoded = MemberMetadata.decode(assigner.metadata(['a', 'b']));
    expect(decoded).toMatchObject({ topics: ['a', 'b'], userData: Buffer.from('mine') });
  });

  it('hand each member a share of its own topics only, readable by kafkajs', async () => {
    const members = [
      { memberId: 'm1', metadata: assigner.metadata(['a', 'b']) },
      {
        memberId: 'm2',
        metadata: MemberMetadata.encode({ version: 3, topics: ['a'], userData: Buffer.alloc(0) }),
      },
      { memberId: 'm3', metadata: Buffer.from([0]) },
    ];
    const shares = await assigner.assign(
      members,
      new Map([
        ['a', [0, 1, 2]],
        ['b', [0, 1]],
      ]),
      ['a', 'b'],
    );
    const decoded = shares.map(({ assignment }) => MemberAssignment.decode(assignment)!.assignment);
    expect(decoded).toEqual([{ a: [0, 2], b: [0, 1] }, { a: [1] }, {}]);
    expect(decodeAssignment(shares[1]!.assignment)).toEqual([{ topic: 'a', partition: 1 }]);
    expect(subscribedTopics(members)).toEqual(['a', 'b']);
  });

  it('see foreign and damaged members without failing', async () => {
    const seen: AssignerMember[] = [];
    const spy = fromGroupAssigner({
      name: 'spy',
      userData: () => null,
      assign: (members) => {
        seen.push(...members);
        return new Map();
      },
    });
    const random = Array.from({ length: 200 }, (_, size) => Buffer.alloc(size % 40, size * 7));
    await spy.assign(
      random.map((metadata, index) => ({ memberId: `${index}`, metadata })),
      new Map(),
      [],
    );
    expect(seen).toHaveLength(200);
  });

  it('reads an empty share as none', () => {
    expect(decodeAssignment(Buffer.alloc(0))).toEqual([]);
  });
});
