import { deferred } from '../../../lib/runtime/deferred.js';
import { eventually } from '../../support/eventually.js';
import { bounds, recordsOf, ScriptedEngine } from './scripted-engine.js';

describe('a partition whose log lost its end', () => {
  let engine: ScriptedEngine;

  afterEach(() => engine.records.stop());

  it('has nothing stored, and nothing handled that came since, before what is known of the lost ones is put right', async () => {
    engine = new ScriptedEngine(({ delivery }, write) => write(`${delivery.record.offset}`));
    const right = deferred();
    let asked = 0;
    engine.followLostEnd = () => (++asked === 1 ? Promise.reject(new Error('away')) : right.promise);
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 6));
    await eventually(() => engine.consumer.committed() === 6n);

    engine.records.onOffsetOutOfRange(partition!, 6n, 4n);
    engine.consumer.deliver(partition!, recordsOf(partition!, 2, 4));
    await eventually(() => asked === 2);
    expect(engine.log.matching("can't be put right yet")).toHaveLength(1);
    expect(engine.consumer.committed()).toBe(6n);
    expect(engine.store).toHaveLength(6);

    right.resolve();
    await eventually(() => engine.consumer.committed() === 4n);
    expect(engine.consumer.sought).toEqual([4n]);
    engine.consumer.deliver(partition!, recordsOf(partition!, 2, 4));
    await eventually(() => engine.consumer.committed() === 6n);
    expect(engine.store.slice(6)).toEqual(['4', '5']);
  });

  it('goes on at the first record that is not done, if that is still there', async () => {
    const [entered, leave] = [deferred(), deferred()];
    engine = new ScriptedEngine(
      ({ delivery }, write) => {
        write(`${delivery.record.offset}`);
        entered.resolve();
        return delivery.record.offset === 0n ? leave.promise : undefined;
      },
      { groupCommit: bounds(1, 10_000) },
    );
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 6));
    await entered.promise;
    engine.records.onOffsetOutOfRange(partition!, 6n, 4n);
    leave.resolve();
    await eventually(() => engine.consumer.committed() === 1n);
    expect(engine.consumer.sought).toEqual([1n]);
  });

  it('is left as it is found if it is given away meanwhile: its next owner finds the loss by the old offset', async () => {
    engine = new ScriptedEngine(({ delivery }, write) => write(`${delivery.record.offset}`));
    const asked = deferred();
    engine.followLostEnd = () => {
      asked.resolve();
      return new Promise(() => undefined);
    };
    const [partition] = await engine.start();
    engine.consumer.deliver(partition!, recordsOf(partition!, 6));
    await eventually(() => engine.consumer.committed() === 6n);
    engine.records.onOffsetOutOfRange(partition!, 6n, 4n);
    await asked.promise;
    await engine.records.onRevoked([partition!], 'revoked');
    expect(engine.consumer.committed()).toBe(6n);
  });
});
