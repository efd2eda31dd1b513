import { always, newLane } from '../../support/ledger-lane.js';
import { LedgerSchema } from '../../support/ledger-schema.js';

describe('the leader epoch of a fence', () => {
  let schema: LedgerSchema;

  beforeEach(() => {
    schema = new LedgerSchema();
  });

  afterEach(() => schema.dispose());

  it('means nothing once a version moved the fence that knows of none', async () => {
    const ledger = await schema.open();
    const lane = newLane();
    await ledger.takeFence(lane, always, 3);
    expect((await ledger.takeFence(lane, always, 4)).fence.leaderEpoch).toBe(3);
    // As the versions before do it.
    const moved = `update {schema}.fence set epoch = epoch + 1, owner = 'host/1/before', next_offset = 9`;
    await schema.query(moved);
    expect((await ledger.takeFence(lane, always)).fence.leaderEpoch).toBe(-1);
    await schema.query(moved);
    const { fence } = await ledger.takeFence(lane, always, 5);
    expect([fence.leaderEpoch, fence.nextOffset]).toEqual([5, 9n]);
  });
});
