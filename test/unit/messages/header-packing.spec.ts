import { packHeaders, unpackHeaders } from '../../../lib/messages/header-packing.js';
import type { RecordHeader } from '../../../lib/messages/record.js';

describe('packed headers', () => {
  it.each<[string, RecordHeader[]]>([
    ['none', []],
    [
      'a missing value and an empty one',
      [
        ['a', null],
        ['a', Buffer.alloc(0)],
      ],
    ],
    [
      'repeated names in their order',
      [
        ['b', Buffer.from('1')],
        ['a', Buffer.from('2')],
        ['b', Buffer.from('3')],
      ],
    ],
    ['an empty name', [['', Buffer.from('x')]]],
    ['names beyond ASCII', [['schlüssel-\u{1f980}', Buffer.from('x')]]],
    ['bytes that are no UTF-8', [['a', Buffer.from([0xff, 0xc0, 0x00])]]],
    [
      'lengths around the steps of LEB128',
      [126, 127, 128, 16_382, 16_383, 16_384].map((n): RecordHeader => ['n'.repeat(n), Buffer.alloc(n, 1)]),
    ],
    [
      'many',
      Array.from({ length: 10_000 }, (_, index): RecordHeader => [`h${index}`, Buffer.from(String(index))]),
    ],
  ])('keep %s', (_, headers) => {
    expect(unpackHeaders(packHeaders(headers))).toEqual(headers);
  });

  it('are small', () => {
    expect(packHeaders([['message-id', Buffer.alloc(16)]]).length).toBe(1 + 1 + 10 + 1 + 16);
  });

  it('refuse bytes that are cut off, damaged or too many', () => {
    const packed = packHeaders([
      ['name', Buffer.from('value')],
      ['other', null],
    ]);
    for (let length = 0; length < packed.length; length++) {
      expect(() => unpackHeaders(packed.subarray(0, length))).toThrow(RangeError);
    }
    expect(() => unpackHeaders(Buffer.concat([packed, Buffer.alloc(1)]))).toThrow(RangeError);
    expect(() => unpackHeaders(Buffer.alloc(20, 0xff))).toThrow(RangeError);
  });
});
