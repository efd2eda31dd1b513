import { begunSince, hasBegun, NOTHING_BEGUN } from '../../../lib/consumption/begun-offsets.js';

const range = [0n, 1n, 2n, 3n, 4n, 5n, 6n];

describe('what handlers were called for', () => {
  it('is nothing at first', () => {
    expect(range.filter((offset) => hasBegun(NOTHING_BEGUN, offset))).toEqual([]);
  });

  it('leaves out records whose turn did not come', () => {
    const begun = begunSince(NOTHING_BEGUN, 4n, 6n, [1n, 5n]);
    expect(range.filter((offset) => hasBegun(begun, offset))).toEqual([0n, 2n, 3n]);
  });

  it('remembers earlier assignments, as far as later ones did not get', () => {
    const first = begunSince(NOTHING_BEGUN, 6n, 7n, [1n, 4n]);
    // 1 ran meanwhile, 4 was not read again.
    const second = begunSince(first, 2n, 3n, []);
    expect(range.filter((offset) => hasBegun(second, offset))).toEqual([0n, 1n, 2n, 3n, 5n]);
  });
});
