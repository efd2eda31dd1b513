import type { Attempt } from '../../../lib/consumption/attempt.js';
import { FencedError, LedgerUnreachableError } from '../../../lib/errors/errors.js';
import type { AssignedPartition } from '../../../lib/driver/driver.js';
import type { KafkaRecord } from '../../../lib/messages/record.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { eventually } from '../../support/eventually.js';
import { bounds, recordsOf, ScriptedEngine, type Behaviour } from './scripted-engine.js';

const keyOf = ({ delivery }: Attempt) => delivery.record.key!.toString();
const textOf = (attempt: Attempt) => `${keyOf(attempt)}${attempt.delivery.record.offset}`;

/** One record for each letter, under that key. */
function keyed(partition: AssignedPartition, keys: string, first = 0): KafkaRecord[] {
  return recordsOf(partition, keys.length, first).map((record, index) => ({
    ...record,
    key: Buffer.from(keys[index]!),
  }));
}

/** What was written of one key, in order. */
const ofKey = (engine: ScriptedEngine, key: string) => engine.store.filter((text) => text.startsWith(key));

describe.each([false, true])('the work on keys, within a group at once: %s', (concurrent) => {
  let engine: ScriptedEngine;

  afterEach(() => engine.records.stop());

  const start = async (
    behaviour: Behaviour,
    options: ConstructorParameters<typeof ScriptedEngine>[1] = {},
  ): Promise<AssignedPartition> => {
    engine = new ScriptedEngine(behaviour, {
      ordering: 'key',
      groupCommit: bounds(64, 10_000, concurrent),
      ...options,
    });
    const [partition] = await engine.start();
    return partition!;
  };

  const writing: Behaviour = async (attempt, write) => {
    await new Promise((resolve) => setImmediate(resolve));
    write(textOf(attempt));
  };

  it('goes on with others while one is stuck, and holds the offset at it', async () => {
    const stuck = deferred();
    const partition = await start(async (attempt, write) => {
      if (textOf(attempt) === 'a1') await stuck.promise;
      write(textOf(attempt));
    });
    engine.consumer.deliver(partition, keyed(partition, 'babcabc'));
    await eventually(() => engine.store.length === 5 && engine.consumer.committed() === 1n);
    expect(ofKey(engine, 'b')).toEqual(['b0', 'b2', 'b5']);
    expect(ofKey(engine, 'a')).toEqual([]);
    engine.consumer.deliver(partition, keyed(partition, 'ddaa', 7));
    await eventually(() => ofKey(engine, 'd').length === 2);
    stuck.resolve();
    await eventually(() => engine.consumer.committed() === 11n);
    expect(ofKey(engine, 'a')).toEqual(['a1', 'a4', 'a9', 'a10']);
    expect(engine.endings).toEqual([]);
  });

  it('never runs two of a key at once, also where a run was left behind', async () => {
    const running = new Map<string, number>();
    let slow = true;
    const partition = await start(async (attempt, write) => {
      const key = keyOf(attempt);
      running.set(key, (running.get(key) ?? 0) + 1);
      expect(running.get(key)).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, key === 'a' && slow ? 600 : 0));
      slow &&= key !== 'a';
      running.set(key, running.get(key)! - 1);
      write(textOf(attempt));
    });
    engine.consumer.deliver(partition, keyed(partition, 'aabbaabb'));
    await eventually(() => engine.consumer.committed() === 8n);
    expect(ofKey(engine, 'a')).toEqual(['a0', 'a1', 'a4', 'a5']);
    expect(ofKey(engine, 'b')).toEqual(['b2', 'b3', 'b6', 'b7']);
    expect(engine.endings).toEqual([]);
  });

  it('goes on with others while one waits for its next try', async () => {
    let broken = true;
    const partition = await start(
      (attempt, write) => {
        if (textOf(attempt) === 'a1' && broken) throw new Error('no');
        write(textOf(attempt));
      },
      { retry: { attempts: 100_000, initial: 30, factor: 1, max: 30, jitter: false } },
    );
    engine.consumer.deliver(partition, keyed(partition, 'babcabc'));
    await eventually(() => engine.store.length === 5);
    expect(ofKey(engine, 'a')).toEqual([]);
    await eventually(() => engine.consumer.committed() === 1n);
    broken = false;
    await eventually(() => engine.consumer.committed() === 7n);
    expect(ofKey(engine, 'a')).toEqual(['a1', 'a4']);
    expect(ofKey(engine, 'b')).toEqual(['b0', 'b2', 'b5']);
  });

  it('gives one up and goes on behind it', async () => {
    const partition = await start((attempt, write) => {
      if (textOf(attempt) === 'a1') throw new Error('never');
      write(textOf(attempt));
    });
    engine.consumer.deliver(partition, keyed(partition, 'babcab'));
    await eventually(() => engine.consumer.committed() === 6n);
    expect(engine.endings).toEqual(['1 dead exhausted']);
    expect(ofKey(engine, 'a')).toEqual(['a4']);
    expect(ofKey(engine, 'b')).toEqual(['b0', 'b2', 'b5']);
  });

  it('shares groups among keys, and runs several of them at once', async () => {
    let committing = 0;
    let most = 0;
    const partition = await start(writing, {
      concurrency: 3,
      groupCommit: bounds(4, 10_000, concurrent),
    });
    engine.beforeCommit = async () => {
      most = Math.max(most, ++committing);
      await new Promise((resolve) => setTimeout(resolve, 5));
      committing--;
    };
    const keys = Array.from({ length: 120 }, (_, index) => 'abcdefghijkl'[index % 12]).join('');
    engine.consumer.deliver(partition, keyed(partition, keys));
    await eventually(() => engine.consumer.committed() === 120n);
    expect(most).toBe(3);
    expect(Math.max(...engine.groups.map(({ length }) => length))).toBe(4);
    for (const key of 'abcdefghijkl') {
      const offsets = ofKey(engine, key).map((text) => Number(text.slice(1)));
      expect(offsets).toEqual([...offsets].sort((left, right) => left - right));
      expect(offsets).toHaveLength(10);
    }
  });

  it('pauses the partition while one stuck key keeps its offset back for too long', async () => {
    const stuck = deferred();
    const partition = await start(
      async (attempt, write) => {
        if (keyOf(attempt) === 'a') await stuck.promise;
        write(textOf(attempt));
      },
      { maxUncommitted: 20 },
    );
    engine.consumer.deliver(partition, keyed(partition, 'a'));
    for (let first = 1; first < 22; first++) {
      engine.consumer.deliver(partition, keyed(partition, 'b', first));
    }
    await eventually(() => engine.consumer.paused.size === 1 && ofKey(engine, 'b').length === 21);
    stuck.resolve();
    await eventually(() => engine.consumer.paused.size === 0 && engine.consumer.committed() === 22n);
  });

  it('tells resources how far everything is done', async () => {
    const partition = await start(writing);
    engine.consumer.deliver(partition, keyed(partition, 'abc'));
    await eventually(() => engine.doneBelow.at(-1) === 3n);
  });

  it('takes a record for begun only if its handler was called', async () => {
    const stuck = deferred();
    const redelivered = new Map<string, boolean>();
    const partition = await start(
      async (attempt, write) => {
        redelivered.set(textOf(attempt), attempt.redelivered);
        if (keyOf(attempt) === 'a') await stuck.promise;
        write(textOf(attempt));
      },
      { groupCommit: bounds(1, 10_000, concurrent), revocationTimeout: 10, concurrency: 2 },
    );
    engine.consumer.deliver(partition, keyed(partition, 'aab'));
    await eventually(() => ofKey(engine, 'b').length === 1);
    await engine.consumer.revoke();
    redelivered.clear();
    stuck.resolve();
    const [again] = await engine.consumer.assign({});
    engine.consumer.deliver(again!, keyed(again!, 'aabb'));
    await eventually(() => redelivered.size === 4);
    expect(Object.fromEntries(redelivered)).toEqual({ a0: true, a1: false, b2: true, b3: false });
  });

  it('ends its runs before the partition is given away, and takes nothing new', async () => {
    const begun: string[] = [];
    const go = deferred();
    const partition = await start(
      async (attempt, write) => {
        begun.push(textOf(attempt));
        await go.promise;
        write(textOf(attempt));
      },
      { groupCommit: bounds(1, 10_000, concurrent), concurrency: 2 },
    );
    engine.consumer.deliver(partition, keyed(partition, 'abcd'));
    await eventually(() => begun.length === 2);
    const revoked = engine.consumer.revoke();
    go.resolve();
    await revoked;
    expect(begun).toEqual(['a0', 'b1']);
    expect(engine.store.sort()).toEqual(['a0', 'b1']);
    expect(engine.consumer.committed()).toBe(2n);
  });

  it('comes through random failures with each record done once, and each key in order', async () => {
    let seed = 11;
    const random = () => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
    const partition = await start(
      async (attempt, write) => {
        if (random() < 0.3) await new Promise((resolve) => setImmediate(resolve));
        write(textOf(attempt));
        if (random() < 0.05) throw new Error('chance');
        if (random() < 0.01) throw new LedgerUnreachableError('chance');
      },
      {
        concurrency: 4,
        groupCommit: bounds(8, 10_000, concurrent),
        retry: { attempts: 1_000, initial: 0, factor: 1, max: 0, jitter: false },
      },
    );
    engine.beforeCommit = async () => {
      if (random() < 0.1) throw random() < 0.5 ? new FencedError('chance') : new Error('chance');
    };
    const keys = Array.from({ length: 400 }, () => 'abcdefghij'[Math.floor(random() * 10)]).join('');
    for (let first = 0; first < 400; first += 50) {
      engine.consumer.deliver(partition, keyed(partition, keys.slice(first, first + 50), first));
    }
    await eventually(() => engine.consumer.committed() === 400n);
    for (const key of 'abcdefghij') {
      const expected = [...keys].flatMap((each, offset) => (each === key ? [`${key}${offset}`] : []));
      expect(ofKey(engine, key)).toEqual(expected);
    }
    expect(engine.endings).toEqual([]);
    const committed = engine.consumer.commits.flat().map(({ offset }) => offset);
    expect([...committed].sort((left, right) => Number(left - right))).toEqual(committed);
  });
});

describe('a group whose handlers run at once', () => {
  let engine: ScriptedEngine;

  afterEach(() => engine.records.stop());

  it('has different keys at work together, and those of one in turn', async () => {
    const all = deferred();
    const running: string[] = [];
    engine = new ScriptedEngine(
      async (attempt, write) => {
        running.push(textOf(attempt));
        if (running.length === 3) all.resolve();
        await all.promise;
        write(textOf(attempt));
      },
      { ordering: 'key', groupCommit: bounds(64, 10_000, true), concurrency: 1 },
    );
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, keyed(partition!, 'abcabc'));
    await eventually(() => engine.consumer.committed() === 6n);
    expect(running.slice(0, 3).sort()).toEqual(['a0', 'b1', 'c2']);
    expect(engine.groups).toHaveLength(1);
  });

  it('has the one at fault run by itself, and the others together again', async () => {
    const runs = new Map<string, number>();
    engine = new ScriptedEngine(
      async (attempt, write) => {
        const text = textOf(attempt);
        runs.set(text, (runs.get(text) ?? 0) + 1);
        await new Promise((resolve) => setImmediate(resolve));
        if (text === 'b1' && attempt.number < 3) throw new Error('not yet');
        write(text);
      },
      { ordering: 'key', groupCommit: bounds(64, 10_000, true), concurrency: 1 },
    );
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, keyed(partition!, 'abcd'));
    await eventually(() => engine.consumer.committed() === 4n);
    expect(Object.fromEntries(runs)).toEqual({ a0: 2, b1: 4, c2: 2, d3: 2 });
    expect(engine.groups.map((group) => [...group].sort())).toEqual([[0n, 2n, 3n], [1n]]);
    expect(engine.endings).toEqual([]);
  });

  it('suspects none that failed as a consequence, unless there is nobody else', async () => {
    let swallowed = true;
    const runs = new Map<string, number>();
    engine = new ScriptedEngine(
      (attempt, write) => {
        const text = textOf(attempt);
        runs.set(text, (runs.get(text) ?? 0) + 1);
        if (attempt.group.deliveries.length > 1) {
          if (text !== 'a0') attempt.blameless = true;
          if (text !== 'a0' || !swallowed) throw new Error('aborted');
        }
        swallowed = false;
        write(text);
      },
      { ordering: 'key', groupCommit: bounds(64, 10_000, true), concurrency: 1 },
    );
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, keyed(partition!, 'abc'));
    await eventually(() => engine.consumer.committed() === 3n);
    expect(engine.groups).toEqual([[0n], [1n], [2n]]);
    expect(Object.fromEntries(runs)).toEqual({ a0: 2, b1: 2, c2: 2 });
  });

  it('runs a delivery again later that had to wait for another one', async () => {
    let waits = true;
    engine = new ScriptedEngine(
      (attempt, write) => {
        if (textOf(attempt) === 'b1' && waits) {
          waits = false;
          attempt.postpone();
          return;
        }
        write(textOf(attempt));
      },
      { ordering: 'key', groupCommit: bounds(64, 10_000, true), concurrency: 1 },
    );
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, keyed(partition!, 'abb'));
    await eventually(() => engine.consumer.committed() === 3n);
    expect(engine.store).toEqual(['a0', 'b1', 'b2']);
    expect(engine.groups).toEqual([[0n], [1n, 2n]]);
  });
});

describe('handlers that are not enlisted, under key order', () => {
  it('run once each, and hold up nobody while they are slow', async () => {
    const stuck = deferred();
    const runs: string[] = [];
    const engine = new ScriptedEngine(
      async (attempt, write) => {
        runs.push(textOf(attempt));
        if (textOf(attempt) === 'a0') await stuck.promise;
        write(textOf(attempt));
      },
      { ordering: 'key', enlisted: false },
    );
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, keyed(partition!, 'abcab'));
    await eventually(() => engine.store.length === 3);
    expect(ofKey(engine, 'b')).toEqual(['b1', 'b4']);
    stuck.resolve();
    await eventually(() => engine.consumer.committed() === 5n);
    expect(ofKey(engine, 'a')).toEqual(['a0', 'a3']);
    expect(runs).toHaveLength(5);
    await engine.records.stop();
  });
});
