import type { Attempt } from '../../../lib/consumption/attempt.js';
import { FencedError, HandlerTimeoutError, LedgerUnreachableError } from '../../../lib/errors/errors.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { LONG_MS, SOON_MS, within } from '../../../lib/testing/contract/eventually.js';
import { collectGarbage } from '../../support/collect-garbage.js';
import { eventually } from '../../support/eventually.js';
import { bounds, recordsOf, ScriptedEngine, TerminalError, type Behaviour } from './scripted-engine.js';

const offsetOf = ({ delivery }: Attempt) => Number(delivery.record.offset);
const numbers = (count: number, first = 0) => Array.from({ length: count }, (_, index) => `${first + index}`);

describe('the work on a partition', () => {
  let engine: ScriptedEngine;

  afterEach(() => engine.records.stop());

  const writing: Behaviour = (attempt, write) => write(`${offsetOf(attempt)}`);

  it('runs records in order, and commits their offsets', async () => {
    engine = new ScriptedEngine(writing);
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 200));
    await eventually(() => engine.consumer.committed() === 200n);
    expect(engine.store).toEqual(numbers(200));
  });

  it('calls no handler for what the group knows to be over, and commits past it', async () => {
    engine = new ScriptedEngine(writing);
    for (const offset of [1n, 2n, 4n]) engine.over.add(offset);
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 6));
    await eventually(() => engine.consumer.committed() === 6n);
    expect(engine.store).toEqual(['0', '3', '5']);
    expect(engine.groups).toEqual([[0n, 1n, 2n, 3n, 4n, 5n]]);
  });

  it('runs all handlers of a record before the next record', async () => {
    engine = new ScriptedEngine([
      (attempt, write) => write(`a${offsetOf(attempt)}`),
      (attempt, write) => write(`b${offsetOf(attempt)}`),
    ]);
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 3));
    await eventually(() => engine.consumer.committed() === 3n);
    expect(engine.store).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'b2']);
  });

  it('lets go of what a handler was called with at its end, not at the commit of its group', async () => {
    const calls: WeakRef<object>[] = [];
    let atCommit: boolean[] = [];
    engine = new ScriptedEngine((attempt) => {
      const call = { data: 'parsed' };
      calls.push(new WeakRef(call));
      attempt.onAbort(() => void call);
    });
    engine.beforeCommit = async () => {
      await collectGarbage();
      atCommit = calls.map((call) => call.deref() !== undefined);
    };
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 3));
    await eventually(() => engine.consumer.committed() === 3n);
    expect(atCommit).toEqual([false, false, false]);
  });

  it('keeps nothing of a group when it has ended', async () => {
    const deliveries: WeakRef<object>[] = [];
    engine = new ScriptedEngine((attempt, write) => {
      deliveries.push(new WeakRef(attempt.delivery));
      write('written');
    });
    const [partition] = await engine.start();
    for (let offset = 0; offset < 3; offset++) {
      engine.consumer.deliver(partition!, recordsOf(partition!, 1, offset));
      await eventually(() => engine.consumer.committed() === BigInt(offset + 1));
    }
    engine.resources.length = 1;
    await collectGarbage();
    // The resource of the first group stands for the partition.
    expect(deliveries.slice(1).map((delivery) => delivery.deref())).toEqual([undefined, undefined]);
  });

  describe('closes a group', () => {
    it('at maxRecords', async () => {
      engine = new ScriptedEngine(writing, { groupCommit: bounds(4, 10_000) });
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 10));
      await eventually(() => engine.consumer.committed() === 10n);
      expect(engine.groups.map(({ length }) => length)).toEqual([4, 4, 2]);
    });

    it('at maxMillis, so that slow handlers do not share one', async () => {
      engine = new ScriptedEngine(
        async (attempt, write) => {
          await new Promise((resolve) => setTimeout(resolve, 15));
          write(`${offsetOf(attempt)}`);
        },
        { groupCommit: bounds(64, 10) },
      );
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 5));
      await eventually(() => engine.consumer.committed() === 5n);
      expect(engine.groups.map(({ length }) => length)).toEqual([1, 1, 1, 1, 1]);
    });

    it('early only for as long as handlers are slow', async () => {
      let slow = true;
      engine = new ScriptedEngine(
        async (attempt, write) => {
          if (slow) await new Promise((resolve) => setTimeout(resolve, 30));
          write(`${offsetOf(attempt)}`);
        },
        { groupCommit: bounds(64, 10) },
      );
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 12));
      await eventually(() => engine.consumer.committed() === 12n);
      expect(engine.groups.at(-1)).toHaveLength(1);
      const before = engine.groups.length;
      slow = false;
      engine.consumer.deliver(partition!, recordsOf(partition!, 200, 12));
      await eventually(() => engine.consumer.committed() === 212n);
      // A busy machine may close some of them early.
      const later = engine.groups.slice(before).map(({ length }) => length);
      expect(Math.max(...later)).toBeGreaterThan(1);
    });

    it('when nothing more was fetched', async () => {
      engine = new ScriptedEngine(writing);
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 1));
      await eventually(() => engine.consumer.committed() === 1n);
      expect(engine.groups).toEqual([[0n]]);
    });
  });

  describe('isolates a record that fails', () => {
    it('and retries it, without losing or doubling its neighbours', async () => {
      const runs = new Map<number, number>();
      engine = new ScriptedEngine((attempt, write) => {
        const offset = offsetOf(attempt);
        runs.set(offset, (runs.get(offset) ?? 0) + 1);
        write(`${offset}`);
        if (offset === 5 && attempt.number < 3) throw new Error('not yet');
      });
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 10));
      await eventually(() => engine.consumer.committed() === 10n);
      expect(engine.store).toEqual(numbers(10));
      // Once in the group that was undone with it, then alone.
      expect(runs.get(5)).toBe(4);
      expect(runs.get(6)).toBe(1);
      expect(engine.endings).toEqual([]);
    });

    it('and gives it up after its last attempt', async () => {
      engine = new ScriptedEngine((attempt, write) => {
        write(`${offsetOf(attempt)}`);
        if (offsetOf(attempt) % 4 === 1) throw new Error('never');
      });
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 10));
      await eventually(() => engine.consumer.committed() === 10n);
      expect(engine.store).toEqual(numbers(10).filter((offset) => Number(offset) % 4 !== 1));
      expect(engine.endings).toEqual(['1 dead exhausted', '5 dead exhausted', '9 dead exhausted']);
    });

    it('and gives it up at once if it is terminal', async () => {
      let runs = 0;
      engine = new ScriptedEngine((attempt) => {
        if (offsetOf(attempt) !== 0) return;
        runs++;
        throw new TerminalError();
      });
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 2));
      await eventually(() => engine.consumer.committed() === 2n);
      expect(runs).toBe(1);
      expect(engine.endings).toEqual(['0 dead terminal']);
    });

    it('whichever it is when only the commit fails', async () => {
      engine = new ScriptedEngine(writing);
      engine.beforeCommit = async (attempts) => {
        if (attempts.some((attempt) => offsetOf(attempt) === 3)) throw new Error('deferred constraint');
      };
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 6));
      await eventually(() => engine.consumer.committed() === 6n);
      expect(engine.store).toEqual(['0', '1', '2', '4', '5']);
      expect(engine.endings).toEqual(['3 dead exhausted']);
    });

    it('whose handler is not enlisted, and commits what was enlisted before it', async () => {
      engine = new ScriptedEngine(
        (attempt, write) => {
          if (offsetOf(attempt) === 1 && attempt.number < 3) throw new Error('not yet');
          write(`${offsetOf(attempt)}`);
        },
        { enlisted: false },
      );
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 3));
      await eventually(() => engine.consumer.committed() === 3n);
      expect(engine.store).toEqual(['0', '1', '2']);
    });

    it('for ever under "block", with an alarm, and holds its offset', async () => {
      let broken = true;
      engine = new ScriptedEngine(
        (attempt, write) => {
          if (offsetOf(attempt) === 1 && broken) throw new Error('no');
          write(`${offsetOf(attempt)}`);
        },
        { onExhausted: 'block' },
      );
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 3));
      await eventually(() => engine.log.matching('holds its partition').length > 0);
      await eventually(() => engine.consumer.committed() === 1n);
      expect(engine.store).toEqual(['0']);
      broken = false;
      await eventually(() => engine.consumer.committed() === 3n);
      expect(engine.log.matching('holds its partition')).toHaveLength(1);
    });
  });

  describe('holds while infrastructure is down', () => {
    it('without counting, for all partitions, and goes on by itself', async () => {
      let up = false;
      engine = new ScriptedEngine(
        (attempt, write) => {
          if (!up) throw new LedgerUnreachableError('away');
          expect(attempt.number).toBe(1);
          write(`${offsetOf(attempt)}`);
        },
        { retry: { attempts: 1, initial: 1, factor: 1, max: 1, jitter: false } },
      );
      engine.probe = () => (up ? Promise.resolve() : Promise.reject(new Error('away')));
      const partitions = await engine.start(2);
      for (const partition of partitions) engine.consumer.deliver(partition, recordsOf(partition, 3));
      await eventually(() => engine.log.matching('Work is held').length > 0);
      expect(engine.consumer.commits).toEqual([]);
      up = true;
      await eventually(() => engine.consumer.committed(0) === 3n && engine.consumer.committed(1) === 3n);
      expect(engine.store).toHaveLength(6);
      expect(engine.endings).toEqual([]);
    });

    it('and waits longer each time where the probe says that all is well', async () => {
      let runs = 0;
      engine = new ScriptedEngine(() => {
        runs++;
        throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
      });
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 1));
      await eventually(() => runs > 1);
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      expect(runs).toBeLessThan(25);
    });

    it('but lets the partition go at once in a rebalance', async () => {
      engine = new ScriptedEngine(
        () => {
          throw new LedgerUnreachableError('away');
        },
        { revocationTimeout: LONG_MS },
      );
      engine.probe = () => Promise.reject(new Error('away'));
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 3));
      await eventually(() => engine.log.matching('Work is held').length > 0);
      await within('the revocation', engine.consumer.revoke(), SOON_MS);
    });

    it('but lets a partition go at once that has not begun to work', async () => {
      engine = new ScriptedEngine(
        (attempt) => {
          if (attempt.delivery.partition.partition === 0) throw new LedgerUnreachableError('away');
        },
        { revocationTimeout: LONG_MS },
      );
      engine.probe = () => Promise.reject(new Error('away'));
      const [first, second] = await engine.start(2);
      engine.consumer.deliver(first!, recordsOf(first!, 1));
      await eventually(() => engine.log.matching('Work is held').length > 0);
      engine.consumer.deliver(second!, recordsOf(second!, 1));
      await within('the revocation', engine.consumer.revoke('lost'), SOON_MS);
    });
  });

  describe('of an owner who was fenced', () => {
    it('goes on if the coordinator confirms its membership', async () => {
      let fenced = 2;
      engine = new ScriptedEngine(writing);
      engine.beforeCommit = async () => {
        if (fenced-- > 0) throw new FencedError('another epoch');
      };
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 3));
      await eventually(() => engine.consumer.committed() === 3n);
      expect(engine.consumer.confirmations).toBe(2);
      expect(engine.store).toEqual(['0', '1', '2']);
      expect(engine.endings).toEqual([]);
    });

    it('ends if it is no longer a member', async () => {
      let runs = 0;
      engine = new ScriptedEngine(() => void runs++);
      engine.consumer.member = false;
      engine.beforeCommit = () => Promise.reject(new FencedError('another epoch'));
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 1));
      await eventually(() => engine.consumer.confirmations === 1);
      engine.consumer.deliver(partition!, recordsOf(partition!, 3, 1));
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(runs).toBe(1);
      expect(engine.consumer.commits).toEqual([]);
    });

    it('asks again while the coordinator does not answer', async () => {
      let fenced = true;
      engine = new ScriptedEngine(writing);
      engine.consumer.member = 'unknown';
      engine.beforeCommit = async () => {
        if (fenced) throw new FencedError('another epoch');
      };
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 1));
      await eventually(() => engine.consumer.confirmations >= 2);
      fenced = false;
      await eventually(() => engine.consumer.committed() === 1n);
    });
  });

  describe('at handlerTimeout', () => {
    it('gives the handler up, aborts its signal, and counts a failure', async () => {
      const reasons: unknown[] = [];
      engine = new ScriptedEngine(
        (attempt, write) => {
          write(`${offsetOf(attempt)}`);
          if (offsetOf(attempt) !== 1) return;
          attempt.signal.addEventListener('abort', () => reasons.push(attempt.signal.reason));
          return new Promise(() => undefined);
        },
        { handlerTimeout: 30 },
      );
      const [partition] = await engine.start();
      engine.consumer.deliver(partition!, recordsOf(partition!, 3));
      await eventually(() => engine.consumer.committed() === 3n);
      expect(engine.store).toEqual(['0', '2']);
      expect(engine.endings).toEqual(['1 dead exhausted']);
      expect(reasons[0]).toBeInstanceOf(HandlerTimeoutError);
    });
  });

  it('holds offsets back until replies and what follows the commit are acknowledged', async () => {
    const acknowledged = deferred<boolean>();
    const produced = deferred();
    engine = new ScriptedEngine(
      (attempt) => attempt.reply({ key: null, value: Buffer.from(`${offsetOf(attempt)}`), headers: [] }),
      { kind: 'request', groupCommit: bounds(1, 10) },
    );
    engine.publish = (delivery) =>
      delivery.record.offset === 1n ? acknowledged.promise : Promise.resolve(true);
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 3));
    await eventually(() => engine.groups.length === 3 && engine.consumer.committed() === 1n);
    engine.afterCommit = () => produced.promise;
    engine.consumer.deliver(partition!, recordsOf(partition!, 1, 3));
    acknowledged.resolve(true);
    await eventually(() => engine.groups.length === 4 && engine.consumer.committed() === 3n);
    produced.resolve();
    await eventually(() => engine.consumer.committed() === 4n);
  });

  it('never lets the offset of a request go whose reply was not produced', async () => {
    engine = new ScriptedEngine(
      (attempt) => attempt.reply({ key: null, value: Buffer.from('x'), headers: [] }),
      { kind: 'request' },
    );
    engine.publish = (delivery) => Promise.resolve(delivery.record.offset !== 1n);
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 3));
    await eventually(() => engine.consumer.committed() === 1n);
    await engine.records.stop();
    expect(engine.consumer.committed()).toBe(1n);
  });

  it('gives nothing away of a group that does not commit', async () => {
    let fails = true;
    engine = new ScriptedEngine(
      (attempt) => attempt.reply({ key: null, value: Buffer.from(`${attempt.number}`), headers: [] }),
      { kind: 'request' },
    );
    engine.beforeCommit = async () => {
      if (!fails) return;
      fails = false;
      throw new LedgerUnreachableError('away');
    };
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 3));
    await eventually(() => engine.consumer.committed() === 3n);
    expect(engine.published).toEqual(['1', '1', '1']);
  });

  it('pauses above its bound and resumes below half of it', async () => {
    const open = deferred();
    engine = new ScriptedEngine(() => open.promise, { maxHeldRecords: 10 });
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 4));
    expect(engine.consumer.paused.size).toBe(0);
    engine.consumer.deliver(partition!, recordsOf(partition!, 10, 4));
    expect([...engine.consumer.paused]).toEqual(['t[0]']);
    open.resolve();
    await eventually(() => engine.consumer.committed() === 14n);
    expect(engine.consumer.paused.size).toBe(0);
    expect(engine.consumer.pauses).toBe(1);
  });

  it('pauses for bytes too, and for records that only wait for their acknowledgement', async () => {
    const acknowledged = deferred();
    engine = new ScriptedEngine(writing, { maxHeldRecords: 10, maxHeldBytes: 100 });
    engine.afterCommit = () => acknowledged.promise;
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, [{ ...recordsOf(partition!, 1)[0]!, value: Buffer.alloc(200) }]);
    expect(engine.consumer.paused.size).toBe(1);
    await eventually(() => engine.groups.length === 1 && engine.consumer.paused.size === 0);
    engine.consumer.deliver(partition!, recordsOf(partition!, 9, 1));
    await eventually(() => engine.groups.length === 2);
    expect(engine.consumer.paused.size).toBe(1);
    acknowledged.resolve();
    await eventually(() => engine.consumer.paused.size === 0);
  });

  it('goes on in as many partitions at once as it may, and no more', async () => {
    let running = 0;
    let most = 0;
    engine = new ScriptedEngine(
      async (attempt, write) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 2));
        running--;
        write(`${attempt.delivery.partition.partition}`);
      },
      { concurrency: 3, groupCommit: bounds(2, 10_000) },
    );
    const partitions = await engine.start(8);
    for (const partition of partitions) engine.consumer.deliver(partition, recordsOf(partition, 6));
    await eventually(() => engine.store.length === 48);
    expect(most).toBe(3);
  });

  it('comes through random failures with each record done once and in order', async () => {
    let seed = 7;
    const random = () => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
    engine = new ScriptedEngine(
      (attempt, write) => {
        write(`${attempt.delivery.partition.partition}:${offsetOf(attempt)}`);
        if (random() < 0.05) throw new Error('chance');
        if (random() < 0.02) throw new LedgerUnreachableError('chance');
      },
      {
        concurrency: 2,
        groupCommit: bounds(16, 10_000),
        retry: { attempts: 1_000, initial: 0, factor: 1, max: 0, jitter: false },
      },
    );
    engine.beforeCommit = async () => {
      if (random() < 0.1) throw random() < 0.5 ? new FencedError('chance') : new Error('chance');
    };
    const partitions = await engine.start(3);
    for (const partition of partitions) {
      for (let first = 0; first < 150; first += 50) {
        engine.consumer.deliver(partition, recordsOf(partition, 50, first));
      }
    }
    await eventually(() => [0, 1, 2].every((partition) => engine.consumer.committed(partition) === 150n));
    for (const partition of [0, 1, 2]) {
      const own = engine.store.filter((text) => text.startsWith(`${partition}:`));
      expect(own).toEqual(numbers(150).map((offset) => `${partition}:${offset}`));
      const offsets = engine.consumer.commits.flat().filter((offset) => offset.partition === partition);
      const ordered = offsets.map(({ offset }) => offset);
      expect([...ordered].sort((left, right) => Number(left - right))).toEqual(ordered);
    }
    expect(engine.endings).toEqual([]);
  });
});
