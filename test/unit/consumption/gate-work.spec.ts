import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { BrokerUnreachableError, LedgerUnreachableError } from '../../../lib/errors/errors.js';
import { eventually } from '../../support/eventually.js';
import { recordsOf, ScriptedEngine, TerminalError } from './scripted-engine.js';

describe('Work while something that all of it needs is away', () => {
  let engine: ScriptedEngine;
  let changes: string[];
  const closed = () => changes.push('closed');
  const opened = () => changes.push('opened');

  beforeEach(() => {
    changes = [];
    subscribe('nestjs-durable-kafka:gate-closed', closed);
    subscribe('nestjs-durable-kafka:gate-opened', opened);
  });

  afterEach(async () => {
    unsubscribe('nestjs-durable-kafka:gate-closed', closed);
    unsubscribe('nestjs-durable-kafka:gate-opened', opened);
    await engine.records.stop();
  });

  const unreachable = () => new BrokerUnreachableError('No Kafka broker can be reached');

  it('goes on with one record, and with all when that one came through', async () => {
    let probes = 0;
    engine = new ScriptedEngine(({ delivery: { partition, record } }, write) =>
      write(`${partition.partition}:${record.offset}`),
    );
    const attempts: string[] = [];
    engine.beforeCommit = async (group) => {
      attempts.push(`${group.length}`);
      // Up to the trial that comes after the third probe.
      if (probes < 3) throw new LedgerUnreachableError('away');
    };
    engine.probe = async () => {
      probes++;
    };
    const partitions = await engine.start(3);
    for (const partition of partitions) engine.consumer.deliver(partition, recordsOf(partition, 5));
    await eventually(() => [0, 1, 2].every((partition) => engine.consumer.committed(partition) === 5n));
    // What was under way in the three partitions, two trials that failed, and one that came through.
    expect(attempts.slice(0, 6)).toEqual(['5', '5', '5', '1', '1', '1']);
    expect(engine.groups.map((group) => group.length).slice(0, 2)).toEqual([1, expect.any(Number)]);
    expect(engine.store.sort()).toEqual(
      [0, 1, 2].flatMap((partition) => [0, 1, 2, 3, 4].map((offset) => `${partition}:${offset}`)),
    );
    expect(changes).toEqual(['closed', 'opened']);
    expect(engine.log.matching('Work is held')).toHaveLength(1);
  });

  it('is held when offsets cannot be stored and the coordinator does not answer', async () => {
    let ran = 0;
    engine = new ScriptedEngine(() => void ran++);
    let isAway = true;
    engine.consumer.member = 'unknown';
    engine.consumer.beforeCommit = async () => {
      if (isAway) throw unreachable();
    };
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 1));
    await eventually(() => engine.records.gate === 'closed');
    const before = ran;
    engine.consumer.deliver(partition!, recordsOf(partition!, 3, 1));
    await eventually(() => engine.consumer.confirmations > 3);
    expect(ran).toBe(before);
    isAway = false;
    engine.consumer.member = true;
    await eventually(() => engine.consumer.committed() === 4n);
    await eventually(() => engine.records.gate === 'open');
    expect(changes).toEqual(['closed', 'opened']);
  });

  it('is held when a dead letter cannot be published since the broker is away, and not for one topic', async () => {
    engine = new ScriptedEngine(
      ({ delivery: { partition, record } }) => {
        if (partition.partition === 0 && record.offset === 0n) throw new TerminalError('no');
      },
      { enlisted: false, hasDeadLetterTopic: true },
    );
    let error: Error | undefined = new Error('no such topic');
    engine.beforeEnding = async () => {
      if (error) throw error;
    };
    const [first, second] = await engine.start(2);
    engine.consumer.deliver(first!, recordsOf(first!, 2));
    await eventually(() => engine.consumer.confirmations > 1);
    engine.consumer.deliver(second!, recordsOf(second!, 2));
    await eventually(() => engine.consumer.committed(1) === 2n);
    expect(changes).toEqual([]);
    engine.consumer.member = 'unknown';
    error = unreachable();
    await eventually(() => engine.records.gate === 'closed');
    expect(engine.consumer.committed(0)).toBeUndefined();
    error = undefined;
    engine.consumer.member = true;
    await eventually(() => engine.consumer.committed(0) === 2n);
    expect(engine.endings).toEqual(['0 dead terminal']);
  });
});
