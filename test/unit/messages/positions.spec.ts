import { InvalidRecordError } from '../../../lib/errors/errors.js';
import { readPosition, readPositions } from '../../../lib/messages/positions.js';

const at = (offset: unknown) => ({ topic: 't', partition: 0, offset });

describe('positions that users write', () => {
  it.each([
    ['0', 0n],
    ['9223372036854775807', 9223372036854775807n],
    [17, 17n],
    [17n, 17n],
  ])('are read: %s', (offset, read) => {
    expect(readPosition(at(offset), 'seek()')).toEqual(at(read));
  });

  it('are the edges of a partition only where these make sense', () => {
    expect(readPosition(at('-1'), 'seek()', true)).toEqual(at(-1n));
    expect(readPosition(at('-2'), 'seek()', true)).toEqual(at(-2n));
    expect(() => readPosition(at('-3'), 'seek()', true)).toThrow(InvalidRecordError);
    expect(() => readPosition(at('-1'), 'commitOffsets()')).toThrow(InvalidRecordError);
  });

  it.each(['', ' 1', '1.5', 'abc', '9223372036854775808', 1.5, NaN, null, undefined, {}])(
    'are refused by the place they are about: %p',
    (offset) => {
      expect(() => readPosition(at(offset), 'seek()')).toThrow(
        /^seek\(\) was given an offset of t\[0\] that none can be/,
      );
    },
  );

  it.each([undefined, null, 5, {}, { topic: 5 }, { topic: 't' }, { topic: 't', partition: -1, offset: '1' }])(
    'need a topic and a partition: %j',
    (position) => {
      expect(() => readPosition(position, 'seek()')).toThrow(InvalidRecordError);
    },
  );

  it('come in lists', () => {
    expect(readPositions([at('1'), at('2')], 'commitOffsets()')).toEqual([at(1n), at(2n)]);
    expect(() => readPositions(undefined, 'commitOffsets()')).toThrow('commitOffsets() takes a list');
  });
});
