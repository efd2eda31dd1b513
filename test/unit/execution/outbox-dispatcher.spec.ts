import { ConnectionClosedError, ProduceError } from '../../../lib/errors/errors.js';
import type { Ledger } from '../../../lib/execution/ledger.js';
import { OutboxDispatcher } from '../../../lib/execution/outbox-dispatcher.js';
import type { OutgoingRecord } from '../../../lib/messages/record.js';
import { outboxOf } from '../../../lib/testing/contract/ledger-contract-world.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { ManualClock } from '../transport/manual-clock.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('OutboxDispatcher', () => {
  let clock: ManualClock;
  let log: RecordingLogger;
  let marked: string[];
  let produced: OutgoingRecord[];

  beforeEach(() => {
    clock = new ManualClock();
    log = new RecordingLogger();
    marked = [];
    produced = [];
  });

  function dispatcher(keyHeader: string | false = 'idempotency-key'): OutboxDispatcher {
    const ledger = {
      markDispatched: (ids: readonly string[]) => void marked.push(...ids),
    } as unknown as Ledger;
    return new OutboxDispatcher(ledger, keyHeader, clock, log);
  }

  const taking = (record: OutgoingRecord) => Promise.resolve(void produced.push(record));
  const header = (name: string) =>
    produced[0]!.headers.filter(([each]) => each === name).map(([, value]) => `${value}`);

  it('produces records in their order, and notes those that the broker has', async () => {
    const records = ['a', 'b', 'c'].map((id) => outboxOf({ id, value: Buffer.from(id) }));
    await dispatcher().dispatch(records, taking);
    expect(produced.map(({ value }) => `${value}`)).toEqual(['a', 'b', 'c']);
    expect(marked).toEqual(['a', 'b', 'c']);
  });

  it('sends the stable id along, as the key too unless there is one', async () => {
    await dispatcher().dispatch([outboxOf({ id: 'stable' })], taking);
    expect(header('message-id')).toEqual(['stable']);
    expect(header('idempotency-key')).toEqual(['stable']);
    produced = [];
    const letter = outboxOf({ id: 'stable', headers: [['message-id', Buffer.from("its record's")]] });
    await dispatcher().dispatch([letter], taking);
    expect(header('message-id')).toEqual(["its record's"]);
    produced = [];
    const own = outboxOf({ id: 'stable', headers: [['idempotency-key', Buffer.from('mine')]] });
    await dispatcher().dispatch([own], taking);
    expect(header('idempotency-key')).toEqual(['mine']);
    produced = [];
    await dispatcher(false).dispatch([outboxOf({ id: 'stable' })], taking);
    expect(header('idempotency-key')).toEqual([]);
  });

  it('insists on what the broker refuses, ever more patiently, and notes nothing before', async () => {
    let refusals = 8;
    const at: number[] = [];
    const start = clock.now();
    const stubborn = (record: OutgoingRecord) => {
      at.push(clock.now() - start);
      return refusals-- > 0
        ? Promise.reject(new ProduceError('not now', { retryable: true }))
        : taking(record);
    };
    const done = dispatcher().dispatch([outboxOf({ id: 'a' })], stubborn);
    while (produced.length === 0) {
      expect(marked).toEqual([]);
      await turn();
      clock.advance(10);
    }
    await done;
    expect(marked).toEqual(['a']);
    const pauses = at.slice(1).map((time, index) => time - at[index]!);
    expect(pauses).toEqual([...pauses].sort((left, right) => left - right));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(5_000);
    expect(log.matching('waits')).toHaveLength(1);
  });

  it('leaves the rest to the next owner when the producer is closed', async () => {
    const closed = () => Promise.reject(new ConnectionClosedError('closed'));
    await expect(dispatcher().dispatch([outboxOf()], closed)).rejects.toThrow(ConnectionClosedError);
    expect(marked).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});
