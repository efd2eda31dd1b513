import { OffsetTracker } from '../../../lib/consumption/offset-tracker.js';

/** A small generator of its own: a failure names its seed and replays. */
function randoms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

describe('OffsetTracker', () => {
  it('starts where the partition does', () => {
    const tracker = new OffsetTracker(7n);
    expect(tracker.position).toBe(7n);
    expect(tracker.size).toBe(0);
  });

  it('goes past a record when its last part is done', () => {
    const tracker = new OffsetTracker(0n);
    tracker.add(0n, 2);
    tracker.complete(0n);
    expect(tracker.position).toBe(0n);
    tracker.complete(0n);
    expect(tracker.position).toBe(1n);
  });

  it('goes past gaps in the log, and past records without parts', () => {
    const tracker = new OffsetTracker(0n);
    tracker.add(10n, 1);
    expect(tracker.position).toBe(10n);
    tracker.add(20n, 0);
    tracker.complete(10n);
    expect(tracker.position).toBe(21n);
  });

  it('ignores what it does not know', () => {
    const tracker = new OffsetTracker(0n);
    tracker.complete(5n);
    tracker.add(0n, 1);
    tracker.complete(0n);
    tracker.complete(0n);
    expect(tracker.position).toBe(1n);
    expect(tracker.size).toBe(0);
  });

  it.each(Array.from({ length: 20 }, (_, seed) => seed + 1))(
    'agrees with a simple model (seed %i)',
    (seed) => {
      const random = randoms(seed);
      const tracker = new OffsetTracker(0n);
      const pending = new Map<bigint, number>();
      let next = 0n;
      let last = 0n;
      for (let step = 0; step < 2_000; step++) {
        if (random() < 0.5 || pending.size === 0) {
          const offset = next + BigInt(Math.floor(random() * 3));
          const parts = Math.floor(random() * 3);
          tracker.add(offset, parts);
          if (parts > 0) pending.set(offset, parts);
          next = offset + 1n;
        } else {
          const offset = [...pending.keys()][Math.floor(random() * Math.min(pending.size, 50))]!;
          tracker.complete(offset);
          const left = pending.get(offset)! - 1;
          if (left === 0) pending.delete(offset);
          else pending.set(offset, left);
        }
        const expected = pending.keys().next().value ?? next;
        // One comparison, as there are many.
        const agrees = tracker.position === expected && tracker.size === pending.size && expected >= last;
        if (!agrees) throw new Error(`Step ${step}: ${tracker.position} instead of ${expected}`);
        last = tracker.position;
      }
    },
  );

  it('is not stuck by a record that is read again while it is still in work', () => {
    const tracker = new OffsetTracker(0n);
    for (let offset = 0n; offset < 3n; offset++) tracker.add(offset, 1);
    tracker.complete(0n);
    // Somebody seeks back: 1 and 2 are in work, and come again.
    for (let offset = 1n; offset < 4n; offset++) tracker.add(offset, 1);
    for (const offset of [1n, 2n, 1n, 2n]) {
      expect(tracker.position).toBeLessThan(3n);
      tracker.complete(offset);
    }
    expect(tracker.position).toBe(3n);
    tracker.complete(3n);
    expect(tracker.position).toBe(4n);
    expect(tracker.size).toBe(0);
  });
});
