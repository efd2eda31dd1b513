import type { Fence } from '../../../lib/execution/ledger.js';
import { InMemoryLedger } from '../../../lib/testing/in-memory-ledger.js';
import { InMemoryLedgerStore } from '../../../lib/testing/in-memory-ledger-store.js';
import { SeededClock } from '../../support/seeded-clock.js';

const SCOPE = { group: 'group', handler: 'handler' };
const NOTHING = { releases: [], replies: [], outbox: [] };

describe('InMemoryLedger, when the process of one ledger dies', () => {
  const clock = new SeededClock(1);
  const store = new InMemoryLedgerStore();
  const topicId = clock.uuid();

  async function opened(): Promise<InMemoryLedger> {
    const ledger = new InMemoryLedger({ store, clock });
    await clock.settle(ledger.open());
    return ledger;
  }

  async function fenceOf(ledger: InMemoryLedger, partition: number): Promise<Fence> {
    const lane = { scope: SCOPE, topic: 'topic', topicId, partition };
    return (await clock.settle(ledger.takeFence(lane, () => Promise.resolve(true)))).fence;
  }

  function claim(ledger: InMemoryLedger, fence: Fence, ...keys: string[]) {
    const transaction = ledger.transaction();
    const executions = keys.map((key) => ({ key: Buffer.from(key), fingerprint: 1n, offset: 0n }));
    return { transaction, claimed: transaction.claim({ fence, advanceTo: 1n, executions }) };
  }

  it('frees the locks of a transaction that was about to commit', async () => {
    const [dying, other] = [await opened(), await opened()];
    const { transaction, claimed } = claim(dying, await fenceOf(dying, 0), 'a');
    await clock.settle(claimed);
    void transaction.commit(NOTHING).catch(() => undefined);
    dying.crash();
    expect(await clock.settle(claim(other, await fenceOf(other, 1), 'a').claimed)).toEqual(['claimed']);
  });

  it('claims nothing more for a transaction that waited for another of its own', async () => {
    const [dying, other] = [await opened(), await opened()];
    const holding = claim(dying, await fenceOf(dying, 2), 'b');
    await clock.settle(holding.claimed);
    const waiting = claim(dying, await fenceOf(dying, 3), 'b', 'c');
    waiting.claimed.catch(() => undefined);
    await clock.run(10);
    dying.crash();
    await expect(waiting.claimed).rejects.toMatchObject({ code: 'KT_LEDGER_UNREACHABLE' });
    expect(await clock.settle(claim(other, await fenceOf(other, 4), 'c').claimed)).toEqual(['claimed']);
  });
});
