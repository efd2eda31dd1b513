import { InvalidRecordError } from '../../../lib/errors/errors.js';
import { packReplies, unpackReplies, type EncodedReply } from '../../../lib/messages/reply.js';

const samples: EncodedReply[][] = [
  [],
  [{ key: null, value: null, headers: [] }],
  [{ key: Buffer.alloc(0), value: Buffer.alloc(0), headers: [['', Buffer.alloc(0)]] }],
  [
    { key: Buffer.from('k'), value: Buffer.alloc(70_000, 7), headers: [['ä', null]] },
    {
      key: null,
      value: Buffer.from([0, 255]),
      headers: [
        ['a', Buffer.from('1')],
        ['a', Buffer.from('2')],
      ],
    },
  ],
];

describe('stored replies', () => {
  it.each(samples.map((replies) => [replies.length, replies] as const))(
    '%i come back as stored',
    (_, replies) => {
      expect(unpackReplies(packReplies(replies))).toEqual(replies);
    },
  );

  it('are small', () => {
    const reply = { key: null, value: Buffer.from('{"ok":true}'), headers: [] };
    expect(packReplies([reply])).toHaveLength(2 + 1 + 1 + reply.value.length + 1);
  });

  it('are refused when damaged, at whatever byte they end', () => {
    const packed = packReplies(samples[2]!.concat(samples[3]!));
    for (const end of [1, 2, 5, 9, 20, packed.length - 1]) {
      expect(() => unpackReplies(packed.subarray(0, end))).toThrow(InvalidRecordError);
    }
    expect(() => unpackReplies(Buffer.concat([packed, Buffer.from([0])]))).toThrow(InvalidRecordError);
    expect(() => unpackReplies(Buffer.from([1, 255, 255, 255, 255, 255, 255, 255, 255]))).toThrow(
      InvalidRecordError,
    );
  });

  it('of a newer version are refused by name', () => {
    expect(() => unpackReplies(Buffer.from([2, 0]))).toThrow(/format 2/);
    expect(() => unpackReplies(Buffer.alloc(0))).toThrow(/format none/);
  });
});
