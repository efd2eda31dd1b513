import { settlesWithin } from '../../../lib/runtime/clock.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { SeededClock } from '../../support/seeded-clock.js';

/** Knows how many timers are set and neither run nor cleared. */
class CountingClock extends SeededClock {
  readonly pending = new Set<unknown>();

  override setTimeout(callback: () => void, milliseconds: number): unknown {
    const timer = super.setTimeout(() => {
      this.pending.delete(timer);
      callback();
    }, milliseconds);
    this.pending.add(timer);
    return timer;
  }

  override clearTimeout(timer: unknown): void {
    this.pending.delete(timer);
    super.clearTimeout(timer);
  }
}

describe('settlesWithin', () => {
  it('says yes as soon as the work has settled, and leaves no timer', async () => {
    const clock = new CountingClock(1);
    await expect(settlesWithin(clock, Promise.resolve('done'), 1_000)).resolves.toBe(true);
    expect(clock.monotonic()).toBe(0);
    expect(clock.pending.size).toBe(0);
  });

  it('rejects as the work does, and leaves no timer', async () => {
    const clock = new CountingClock(1);
    await expect(settlesWithin(clock, Promise.reject(new Error('broken')), 1_000)).rejects.toThrow('broken');
    expect(clock.pending.size).toBe(0);
  });

  it('says no when the time is over, whatever comes of the work afterwards', async () => {
    const clock = new CountingClock(1);
    const work = deferred<void>();
    const answer = settlesWithin(clock, work.promise, 1_000);
    await expect(clock.settle(answer)).resolves.toBe(false);
    expect(clock.monotonic()).toBe(1_000);
    work.reject(new Error('too late'));
    await expect(answer).resolves.toBe(false);
  });
});
