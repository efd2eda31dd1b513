import { outOfRange } from '../../../lib/consumption/consumer.messages.js';
import { StaleMemberError } from '../../../lib/errors/errors.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { LONG_MS, SOON_MS, within } from '../../../lib/testing/contract/eventually.js';
import { eventually } from '../../support/eventually.js';
import { recordsOf, ScriptedEngine } from './scripted-engine.js';

describe('RecordConsumer', () => {
  let engine: ScriptedEngine;

  afterEach(() => engine.records.stop());

  it('commits what ran, and nothing of what did not, when partitions are revoked', async () => {
    const entered = deferred();
    const leave = deferred();
    engine = new ScriptedEngine(async ({ delivery }, write) => {
      write(`${delivery.record.offset}`);
      if (delivery.record.offset !== 2n) return;
      entered.resolve();
      await leave.promise;
    });
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 10));
    await entered.promise;
    const revoked = engine.consumer.revoke();
    leave.resolve();
    await revoked;
    expect(engine.store).toEqual(['0', '1', '2']);
    expect(engine.consumer.committed()).toBe(3n);
  });

  it('starts no handler any more once it drains, also where it waited for its turn', async () => {
    const leave = deferred();
    const ran: number[] = [];
    engine = new ScriptedEngine(
      async ({ delivery }) => {
        ran.push(delivery.partition.partition);
        await leave.promise;
      },
      { concurrency: 1 },
    );
    const partitions = await engine.start(4);
    for (const partition of partitions) engine.consumer.deliver(partition, recordsOf(partition, 2));
    await eventually(() => ran.length === 1);
    const revoked = engine.consumer.revoke();
    leave.resolve();
    await revoked;
    expect(ran).toEqual([0]);
    expect(engine.consumer.commits.flat()).toEqual([{ topic: 't', partition: 0, offset: 1n }]);
  });

  it('rolls back what runs, and commits nothing, when partitions are lost', async () => {
    const entered = deferred();
    const aborted = deferred<unknown>();
    engine = new ScriptedEngine(async (attempt, write) => {
      write('x');
      attempt.signal.addEventListener('abort', () => aborted.resolve(attempt.signal.reason));
      entered.resolve();
      await aborted.promise;
    });
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 3));
    await entered.promise;
    await engine.consumer.revoke('lost');
    expect(await aborted.promise).toBeInstanceOf(StaleMemberError);
    expect(engine.store).toEqual([]);
    expect(engine.consumer.commits).toEqual([]);
    expect(engine.resources.every(({ rolledBack }) => rolledBack)).toBe(true);
  });

  it('gives a handler that never ends until shutdownTimeout, and its slot to others', async () => {
    const entered = deferred();
    engine = new ScriptedEngine(
      ({ delivery }, write) => {
        if (delivery.partition.rebalanceId === 1) {
          entered.resolve();
          return new Promise(() => undefined);
        }
        write(`${delivery.record.offset}`);
        return undefined;
      },
      { concurrency: 1, revocationTimeout: 30 },
    );
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 2));
    await entered.promise;
    await engine.consumer.revoke();
    expect(engine.consumer.commits).toEqual([]);
    expect(engine.log.lines).toEqual([
      'warn Work on t[0] has not ended within the time that a rebalance leaves (30 ms): it is given up, and comes again',
    ]);
    const [again] = await engine.consumer.assign({});
    engine.consumer.deliver(again!, recordsOf(again!, 2));
    await eventually(() => engine.consumer.committed() === 2n);
    expect(engine.store).toEqual(['0', '1']);
  });

  it('says at which partitions work was given up at shutdownTimeout', async () => {
    const entered = deferred();
    engine = new ScriptedEngine(
      ({ delivery }) => {
        if (delivery.partition.partition === 0) return undefined;
        entered.resolve();
        return new Promise(() => undefined);
      },
      { shutdownTimeout: 1_000 },
    );
    for (const partition of await engine.start(2)) {
      engine.consumer.deliver(partition, recordsOf(partition, 1));
    }
    await entered.promise;
    await engine.records.stop();
    expect(engine.log.lines).toEqual([
      'warn Work on t[1] has not ended within shutdownTimeout (1000 ms): it is given up, and comes again',
    ]);
  });

  it('does not wait for the slot of a partition that goes on when another is lost', async () => {
    const entered = deferred();
    engine = new ScriptedEngine(
      () => {
        entered.resolve();
        return new Promise(() => undefined);
      },
      { concurrency: 1, shutdownTimeout: 10, revocationTimeout: LONG_MS },
    );
    const [first, second] = await engine.start(2);
    engine.consumer.deliver(first!, recordsOf(first!, 1));
    await entered.promise;
    engine.consumer.deliver(second!, recordsOf(second!, 1));
    await new Promise((resolve) => setImmediate(resolve));
    await within('the revocation', engine.records.onRevoked([second!], 'lost'), SOON_MS);
  });

  it('stores where it goes on behind an offset that is past the end, though that is lower', async () => {
    engine = new ScriptedEngine(({ delivery }, write) => write(`${delivery.record.offset}`));
    await engine.records.start();
    const [partition] = await engine.consumer.assign({ startOffset: 100n });
    engine.records.onOffsetOutOfRange(partition!, 100n, 2n);
    expect(engine.log.matching(outOfRange('t[0]', 100n, 2n))).toHaveLength(1);
    await eventually(() => engine.consumer.committed() === 2n);
    engine.consumer.deliver(partition!, recordsOf(partition!, 2, 2));
    await eventually(() => engine.consumer.committed() === 4n);
    expect(engine.store).toEqual(['2', '3']);
  });

  it('stores nothing ahead of what runs where records were deleted', async () => {
    const leave = deferred();
    engine = new ScriptedEngine(() => leave.promise);
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 1));
    engine.records.onOffsetOutOfRange(partition!, 1n, 10n);
    expect(engine.log.matching('t[0]: offset 1 does not exist any more, reading goes on at 10')).toHaveLength(
      1,
    );
    engine.consumer.deliver(partition!, recordsOf(partition!, 1, 10));
    expect(engine.consumer.commits).toEqual([]);
    leave.resolve();
    await eventually(() => engine.consumer.committed() === 11n);
  });

  it('ignores records of an assignment that is over', async () => {
    engine = new ScriptedEngine(({ delivery }, write) => write(`${delivery.record.offset}`));
    const [old] = await engine.start();
    await engine.consumer.revoke();
    await engine.consumer.assign({});
    engine.consumer.deliver(old!, recordsOf(old!, 3));
    await new Promise((resolve) => setImmediate(resolve));
    expect(engine.store).toEqual([]);
  });

  it('commits one after the other, and again what was refused', async () => {
    let running = 0;
    let most = 0;
    let refusals = 2;
    engine = new ScriptedEngine(() => undefined, { commitThreshold: 1, commitInterval: 1 });
    engine.consumer.beforeCommit = async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 3));
      running--;
      if (refusals-- > 0) throw new Error('the coordinator moves');
    };
    const partitions = await engine.start(3);
    for (const partition of partitions) engine.consumer.deliver(partition, recordsOf(partition, 100));
    await eventually(() => [0, 1, 2].every((partition) => engine.consumer.committed(partition) === 100n));
    expect(most).toBe(1);
  });

  it('commits at once when so many records are done', async () => {
    engine = new ScriptedEngine(() => undefined, { commitThreshold: 5, commitInterval: 1_000_000 });
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 4));
    await eventually(() => engine.groups.length === 1);
    expect(engine.consumer.commits).toEqual([]);
    engine.consumer.deliver(partition!, recordsOf(partition!, 1, 4));
    await eventually(() => engine.consumer.committed() === 5n);
  });

  it('commits nothing where handlers do that themselves', async () => {
    engine = new ScriptedEngine(() => undefined, { commitOffsets: false });
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 4));
    await eventually(() => engine.groups.length === 1);
    await engine.records.stop();
    expect(engine.consumer.commits).toEqual([]);
  });

  it('never goes back when records are read again, nor past what is not done', async () => {
    const open = deferred();
    engine = new ScriptedEngine(({ delivery }) => (delivery.record.offset === 7n ? open.promise : undefined));
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 5));
    await eventually(() => engine.consumer.committed() === 5n);
    // Somebody seeks back to the start.
    engine.consumer.deliver(partition!, recordsOf(partition!, 10));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(engine.consumer.committed()).toBe(5n);
    open.resolve();
    await eventually(() => engine.consumer.committed() === 10n);
    const offsets = engine.consumer.commits.flat().map(({ offset }) => offset);
    expect([...offsets].sort((left, right) => Number(left - right))).toEqual(offsets);
  });

  it('stores where each partition starts, before anything is read', async () => {
    engine = new ScriptedEngine(() => undefined);
    await engine.records.start();
    await engine.consumer.assign({ startOffset: 0n }, { startOffset: 7n });
    expect(engine.consumer.starts.map(({ offset }) => offset)).toEqual([0n, 7n]);
  });

  it('does not commit positions of an assignment that is over under the next one', async () => {
    const first = deferred();
    const asked: bigint[] = [];
    engine = new ScriptedEngine(() => undefined, { commitInterval: 1_000_000, commitThreshold: 1 });
    const [old] = await engine.start();
    engine.consumer.beforeCommit = async (offsets) => {
      asked.push(...offsets.map(({ offset }) => offset));
      if (asked.length === 1) await first.promise;
    };
    engine.consumer.deliver(old!, recordsOf(old!, 1));
    await eventually(() => asked.length === 1);
    engine.consumer.deliver(old!, recordsOf(old!, 50, 1));
    await eventually(() => engine.groups.flat().length === 51);
    await engine.consumer.revoke('lost');
    // The topic was made anew: its offsets start again.
    const assigned = engine.consumer.assign({ topicId: '00000000-0000-0000-0000-000000000001' });
    first.resolve();
    await assigned;
    expect(asked).toEqual([1n, 0n]);
  });

  it('does not take a commit of an assignment that is over for one of the next', async () => {
    const late = deferred();
    engine = new ScriptedEngine(() => undefined);
    const [old] = await engine.start();
    engine.consumer.beforeCommit = async (offsets) => {
      if (offsets[0]!.offset === 50n) await late.promise;
    };
    engine.consumer.deliver(old!, recordsOf(old!, 50));
    await eventually(() => engine.groups.flat().length === 50);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await engine.consumer.revoke('lost');
    const assigned = engine.consumer.assign({ topicId: '00000000-0000-0000-0000-000000000001' });
    late.resolve();
    const [next] = await assigned;
    engine.consumer.deliver(next!, recordsOf(next!, 3));
    await eventually(() => engine.consumer.committed() === 3n);
  });

  it('goes on committing when a revocation takes longer than the driver waits for it', async () => {
    const stuck = deferred();
    const entered = deferred();
    engine = new ScriptedEngine(
      ({ delivery }) => {
        if (delivery.partition.rebalanceId > 1) return undefined;
        entered.resolve();
        return new Promise(() => undefined);
      },
      { revocationTimeout: 10 },
    );
    engine.beforeRollback = () => stuck.promise;
    const [old] = await engine.start();
    engine.consumer.deliver(old!, recordsOf(old!, 1));
    await entered.promise;
    const revoked = engine.consumer.revoke();
    const [next] = await engine.consumer.assign({});
    stuck.resolve();
    await revoked;
    engine.consumer.deliver(next!, recordsOf(next!, 3));
    await eventually(() => engine.consumer.committed() === 3n);
  });

  it('stops twice, and without ever having started', async () => {
    engine = new ScriptedEngine(() => undefined);
    await engine.records.stop();
    await engine.records.stop();
  });
});
