import { always, newLane } from '../../support/ledger-lane.js';
import { LedgerSchema } from '../../support/ledger-schema.js';

describe('the leader epoch of a fence', () => {
  let schema: LedgerSchema;

  beforeEach(() => {
    schema = new LedgerSchema();
  });

  afterEach(() => schema.dispose());

  it('is forgotten once a version moved the fence that knows of none', async () => {
    const ledger = await schema.open();
    const lane = newLane();
    const { fence } = await ledger.takeFence(lane, always);
    await ledger.truncations.follow(fence, 3);
    expect((await ledger.takeFence(lane, always)).fence.leaderEpoch).toBe(3);
    // As the versions before do it.
    await schema.query(
      `update {schema}.fence set epoch = epoch + 1, owner = 'host/1/before', next_offset = 9`,
    );
    const { fence: taken } = await ledger.takeFence(lane, always);
    expect([taken.leaderEpoch, taken.nextOffset]).toEqual([undefined, 9n]);
    await ledger.truncations.follow(taken, 5);
    expect((await ledger.takeFence(lane, always)).fence.leaderEpoch).toBe(5);
  });
});
