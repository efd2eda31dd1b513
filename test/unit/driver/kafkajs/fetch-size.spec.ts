import { FetchSize } from '../../../../lib/driver/kafkajs/fetch-size.js';
import { ManualClock } from '../../transport/manual-clock.js';

const KB = 1024;
const MB = 1024 * KB;

describe('how much of a partition is asked for at once', () => {
  let clock: ManualClock;

  beforeEach(() => {
    clock = new ManualClock();
  });

  /** The size in kB after one answer, which was handed over within so long. */
  function after(size: FetchSize, bytes: number, lasted: number): number {
    size.fetched(bytes);
    clock.advance(lasted);
    size.handedOver();
    return size.bytes / KB;
  }

  it('is more while full answers do not last, and less while they last for long', () => {
    const size = new FetchSize(MB, clock);
    expect(size.bytes).toBe(128 * KB);
    expect(after(size, 128 * KB, 10)).toBe(256);
    expect(after(size, 250 * KB, 99)).toBe(512);
    expect(after(size, 512 * KB, 10)).toBe(1_024);
    expect(after(size, MB, 10)).toBe(1_024);
    expect(after(size, MB, 500)).toBe(1_024);
    expect(after(size, MB, 1_001)).toBe(512);
    expect([after(size, MB, 9_000), after(size, MB, 9_000), after(size, MB, 9_000)]).toEqual([256, 128, 64]);
    expect(after(size, 64 * KB, 60_000)).toBe(64);
  });

  it('stays as it is where an answer brought all that there was', () => {
    const size = new FetchSize(MB, clock);
    expect(after(size, 3 * KB, 0)).toBe(128);
    expect(after(size, 64 * KB, 0)).toBe(128);
  });

  it('grows until a batch fits, and no further than it may', () => {
    const size = new FetchSize(700 * KB, clock);
    const asked = [1, 2, 3, 4].map(() => {
      size.fetched(0);
      return size.bytes / KB;
    });
    expect(asked).toEqual([256, 512, 700, 700]);
    expect(new FetchSize(10, clock).bytes).toBe(10);
    expect(after(new FetchSize(10, clock), 10, 5_000) * KB).toBe(10);
  });
});
