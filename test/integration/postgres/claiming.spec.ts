import type { ClaimVerdict, Fence } from '../../../lib/execution/ledger.js';
import type { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import { isPending } from '../../../lib/testing/contract/ledger-contract-world.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { LedgerSchema } from '../../support/ledger-schema.js';
import { PostgresProxy } from '../../support/postgres-proxy.js';

const known = expect.objectContaining({ state: 'completed' }) as ClaimVerdict;

describe('claiming keys in Postgres', () => {
  let schema: LedgerSchema;
  beforeEach(() => {
    schema = new LedgerSchema();
  });
  afterEach(() => schema.dispose());

  async function claim(
    ledger: PostgresLedger,
    fence: Fence,
    keys: readonly string[],
    advanceTo: bigint | null,
  ) {
    const transaction = ledger.transaction();
    const executions = keys.map((key, index) => claimOf(key, index));
    return { transaction, verdicts: await transaction.claim({ fence, advanceTo, executions }) };
  }

  async function run(
    ledger: PostgresLedger,
    fence: Fence,
    keys: readonly string[],
    advanceTo: bigint | null = 9n,
  ) {
    const { transaction, verdicts } = await claim(ledger, fence, keys, advanceTo);
    await transaction.commit(nothing);
    return verdicts;
  }

  it.each([9n, null])(
    'tries once with keys that come again, and then asks (advance to %s)',
    async (advanceTo) => {
      const proxy = await PostgresProxy.start();
      try {
        const ledger = await schema.open({ connection: proxy.url, poolSize: 1 });
        const { fence } = await ledger.takeFence(newLane(), always);
        const trips = async (keys: readonly string[]) => {
          const before = proxy.roundTrips;
          const { transaction, verdicts } = await claim(ledger, fence, keys, advanceTo);
          const taken = proxy.roundTrips - before;
          await transaction.commit(nothing);
          return { verdicts, taken };
        };
        await run(ledger, fence, ['first'], advanceTo);
        expect(await trips(['a', 'b'])).toEqual({ verdicts: ['claimed', 'claimed'], taken: 1 });
        // It tries, looks up what is known, and claims the others.
        expect(await trips(['c', 'b', 'd'])).toEqual({ verdicts: ['claimed', known, 'claimed'], taken: 3 });
        expect(await trips(['c', 'e'])).toEqual({ verdicts: [known, 'claimed'], taken: 2 });
        expect(await trips(['f'])).toEqual({ verdicts: ['claimed'], taken: 1 });
      } finally {
        await proxy.stop();
      }
    },
  );

  it('keeps what was done in the transaction before a second lane brings a known key', async () => {
    const ledger = await schema.open();
    await schema.createEffects();
    const { fence } = await ledger.takeFence(newLane(), always);
    const { fence: second } = await ledger.takeFence(newLane(), always);
    await run(ledger, second, ['known']);

    const { transaction } = await claim(ledger, fence, ['new'], 9n);
    await transaction.client.query(`insert into ${schema.quoted}.effect values ('effect')`);
    const executions = [claimOf('known', 20), claimOf('newer', 21)];
    expect(await transaction.claim({ fence: second, advanceTo: 22n, executions })).toEqual([
      known,
      'claimed',
    ]);
    await transaction.commit(nothing);
    expect(await schema.effects()).toEqual(['effect']);
    expect(await run(ledger, fence, ['new', 'newer'])).toEqual([known, known]);
  });

  it.each([9n, null])(
    'gives each key to one of those who claim it at once (advance to %s)',
    async (advanceTo) => {
      const ledgers = await Promise.all([1, 2, 3].map(() => schema.open()));
      for (let round = 0; round < 40; round++) {
        // Of a scope of its own in each round, of which nobody has learned yet that its keys come again.
        const scope = { group: 'billing', handler: `handler-${round}` };
        const fences = await Promise.all(
          ledgers.map(async (ledger) => (await ledger.takeFence(newLane({ scope }), always)).fence),
        );
        // Not all the same, nor in one order.
        const lists = [
          ['a', 'b', 'c', 'd'],
          ['d', 'c', 'b'],
          ['c', 'e', 'a'],
        ];
        const claims = await Promise.all(
          ledgers.map(async (ledger, index) => {
            const verdicts = await run(ledger, fences[index]!, lists[index]!, advanceTo);
            return lists[index]!.filter((_, at) => verdicts[at] === 'claimed');
          }),
        );
        expect(claims.flat().sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
      }
    },
  );

  it('is fenced if its lane is taken between the error and the new beginning', async () => {
    const proxy = await PostgresProxy.start();
    try {
      const [ledger, other] = [await schema.open({ connection: proxy.url }), await schema.open()];
      const [twinLane, lane] = [newLane(), newLane()];
      const { fence: twinFence } = await other.takeFence(twinLane, always);
      const { fence } = await ledger.takeFence(lane, always);
      const { transaction: twin } = await claim(other, twinFence, ['a'], 9n);
      const waiting = claim(ledger, fence, ['a'], 9n);
      expect(await isPending(waiting)).toBe(true);
      const taking = other.takeFence(lane, always);
      expect(await isPending(taking)).toBe(true);
      proxy.withhold();
      await twin.commit(nothing);
      // The error gave the fence up on the server; here it is not known yet.
      expect((await taking).fence.nextOffset).toBe(0n);
      proxy.release();
      await expect(waiting).rejects.toMatchObject({ code: 'KT_FENCED' });
    } finally {
      await proxy.stop();
    }
  });
});
