import { ReadAhead } from '../../../lib/consumption/read-ahead.js';
import { ManualClock } from '../transport/manual-clock.js';
import { bounds, recordsOf, ScriptedEngine } from './scripted-engine.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { eventually } from '../../support/eventually.js';

describe('how many records of a partition are held', () => {
  /** The bound after a few rounds in which half of what was held lasted so long. */
  function after(ahead: ReadAhead, clock: ManualClock, ...rounds: number[]): number {
    for (const lasted of rounds) {
      ahead.full();
      clock.advance(lasted);
      ahead.halved();
    }
    return ahead.records;
  }

  it('is more for as long as they do not last, and fewer again when they do', () => {
    const clock = new ManualClock();
    const ahead = new ReadAhead(500, 64, clock);
    expect(ahead.records).toBe(128);
    expect(after(ahead, clock, 5)).toBe(256);
    expect(after(ahead, clock, 20, 40, 49)).toBe(500);
    expect(after(ahead, clock, 60, 190)).toBe(500);
    expect(after(ahead, clock, 300)).toBe(250);
    expect(after(ahead, clock, 60_000, 60_000)).toBe(128);
  });

  it('is never less than a group at work and the next one, nor more than may be held', () => {
    const clock = new ManualClock();
    expect(after(new ReadAhead(500, 1, clock), clock, 1_000)).toBe(128);
    expect(after(new ReadAhead(500, 200, clock), clock, 1_000)).toBe(400);
    expect(after(new ReadAhead(500, 10_000, clock), clock, 1_000)).toBe(500);
    expect(after(new ReadAhead(10, 64, clock), clock, 1, 1_000)).toBe(10);
  });

  it.each([
    ['partition', 128, true],
    ['partition', 127, false],
    ['key', 128, false],
    ['key', 500, true],
    ['none', 499, false],
  ] as const)('under ordering %s: at %i of at most 500, paused is %s', async (ordering, count, paused) => {
    const open = deferred();
    const engine = new ScriptedEngine(() => open.promise, {
      ordering,
      maxHeldRecords: 500,
      groupCommit: bounds(64, 10_000),
    });
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, count));
    expect(engine.consumer.paused.size).toBe(paused ? 1 : 0);
    open.resolve();
    await eventually(() => engine.consumer.committed() === BigInt(count));
    expect(engine.consumer.paused.size).toBe(0);
    await engine.records.stop();
  });
});
